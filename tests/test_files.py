"""Arrays in files of HDF5 and Zarr are read in tiles; streams and collections are refused."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_tfsom import TFSOM, metrics
from sklearn_tfsom._data import foreign

h5py = pytest.importorskip("h5py")


def samples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5000, 6)) @ rng.normal(size=(6, 6))


class Recording:
    """An array in a file that records how often it is read, and how many rows at a time.

    If it has chunks, all rows of a chunk are decoded when one of them is read.
    """

    def __init__(self, array, chunks=None):
        self._array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.most = self.n_reads = self.n_decoded = 0

    def __getitem__(self, rows):
        read = self._array[rows]
        self.most, self.n_reads = max(self.most, len(read)), self.n_reads + 1
        if self.chunks is not None and len(read):
            first, end, _ = rows.indices(len(self._array))
            n_chunks = -(-end // self.chunks[0]) - first // self.chunks[0]
            self.n_decoded += n_chunks * self.chunks[0]
        return read


Recording.__module__ = "h5py"


@pytest.fixture
def large_files(monkeypatch):
    """Take any array in a file as a large one."""
    for module in ("foreign", "samples"):
        monkeypatch.setattr(f"sklearn_tfsom._data.{module}.MIN_BYTES_ON_DISK", 1)


@pytest.fixture(scope="module", name="large")
def large_samples():
    """Return 73 MiB of samples, which are not to be changed."""
    return np.random.default_rng(0).normal(size=(300_000, 64)).astype(np.float32)


def stored(kind, path, X):
    if kind == "h5py":
        return h5py.File(path / "samples.h5", "w").create_dataset("X", data=X, chunks=(512, 6))
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(path / "samples.zarr", shape=X.shape, chunks=(512, 6), dtype=X.dtype)
    array[:] = X
    return array


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*(("h5py", dtype) for dtype in ("f8", "f4", "i2", ">f8")), ("zarr", "f8"), ("zarr", "i2")],
)
def test_equals_arrays(kind, dtype, tmp_path, large_files):
    X = (samples() * 20).astype(dtype)
    array = stored(kind, tmp_path, X)
    weights = np.arange(len(X)) % 3
    som = TFSOM(8).fit(array, sample_weight=weights)
    expected = TFSOM(8).fit(X, sample_weight=weights)
    tolerance = 1e-4 if dtype == "f4" else 1e-9
    np.testing.assert_allclose(som.codebook_, expected.codebook_, tolerance, tolerance)
    assert som.codebook_.dtype == expected.codebook_.dtype
    assert_array_equal(som.predict(array), som.predict(X))
    assert_array_equal(som.transform(array), som.transform(X))
    assert_array_equal(som.impute(array), X.astype(som.codebook_.dtype))


def test_view_in_another_dtype(tmp_path, large_files):
    X = samples()
    array = stored("h5py", tmp_path, X).astype("f4")
    som, expected = TFSOM(8).fit(array), TFSOM(8).fit(X.astype("f4"))
    np.testing.assert_allclose(som.codebook_, expected.codebook_, 1e-4, 1e-4)
    assert_array_equal(som.predict(array), som.predict(X.astype("f4")))


@pytest.mark.skipif(np.finfo("g").max == np.finfo("f8").max, reason="longdouble is float64")
def test_long_doubles_beyond_float64_are_infinite(tmp_path, large_files):
    array = stored("h5py", tmp_path, np.where(np.eye(600, 6), np.longdouble("1e400"), 0))
    with pytest.raises(ValueError, match="Input X contains infinity"):
        TFSOM(2).fit(array)


def test_missing_values_and_means(tmp_path, large_files):
    X = samples()
    X[::9, 2] = np.nan
    array = stored("h5py", tmp_path, X)
    som, expected = (
        TFSOM(6, init="sample", random_state=0),
        TFSOM(6, init="sample", random_state=0),
    )
    np.testing.assert_allclose(som.fit(array).codebook_, expected.fit(X).codebook_, 1e-9, 1e-9)


def test_large_arrays_are_read_in_tiles(large):
    array = Recording(large)
    TFSOM(4, max_iter=2).fit(array)
    assert 0 < array.most * large.shape[1] <= 2**24 < large.size


@pytest.mark.parametrize("chunk_rows", [1000, 30_000, 300_000])
def test_no_chunk_is_decoded_for_each_row(large, chunk_rows):
    """A pass decodes each chunk as often as it has 32 MiB, all of its rows or some of them."""
    array = Recording(large, chunks=(chunk_rows, 64))
    som = TFSOM(4, max_iter=3).fit(array)
    assert 3 < array.n_decoded / len(large) < 12 * max(1, chunk_rows * large.shape[1] / 2**22)
    assert array.most * large.shape[1] <= 2**24
    assert_array_equal(som.predict(array), som.predict(large))


@pytest.mark.parametrize("measure", [metrics.distortion, metrics.log_likelihood])
def test_measures_read_in_tiles(large, measure):
    array, som = Recording(large), TFSOM(4, max_iter=2).fit(large)
    value = measure(som, array)
    assert 0 < array.most * large.shape[1] <= 2**24 < large.size
    assert value == measure(som, large)


def test_small_arrays_are_read_once(tmp_path):
    X = samples()
    array = Recording(stored("h5py", tmp_path, X))
    assert_array_equal(TFSOM(5).fit(array).codebook_, TFSOM(5).fit(X).codebook_)
    assert array.n_reads == 1


def test_rows_in_any_order(tmp_path):
    X = samples()
    array = foreign.FileArray(stored("h5py", tmp_path, X))
    rows = np.array([4999, 3, 3, 700, 0, 4, 2000])
    assert_array_equal(array[rows], X[rows])
    assert array[rows[:0]].shape == (0, 6)


@pytest.mark.parametrize("dtype", ["S3", "c16"])
def test_wrong_kinds(dtype, tmp_path, large_files):
    array = h5py.File(tmp_path / "x.h5", "w").create_dataset("X", shape=(5, 2), dtype=dtype)
    with pytest.raises(
        ValueError, match=r"X must be a two-dimensional array of real numbers. Got"
    ):
        TFSOM(2).fit(array)


def test_dataset_without_a_shape(tmp_path):
    array = h5py.File(tmp_path / "x.h5", "w").create_dataset("X", data=h5py.Empty("f8"))
    with pytest.raises(ValueError, match=r"X must be a two-dim.* Got shape None and"):
        TFSOM(2).fit(array)


def test_streams_are_refused():
    tensorflow = pytest.importorskip("tensorflow")
    pieces = tensorflow.data.Dataset.from_tensor_slices(np.eye(4)).batch(2)
    for X in (pieces, (row for row in np.eye(4)), iter(np.eye(4)), map(abs, [1])):
        for call in (TFSOM(2).fit, TFSOM(2).fit(np.eye(4)).predict):
            with pytest.raises(TypeError, match=r"piece by piece.*partial_fit"):
                call(X)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("ray.data.dataset", "Ray.*sklearn_tfsom.ray.fit"),
        ("pyspark.sql.dataframe", "Spark.*sklearn_tfsom.spark.fit"),
    ],
)
def test_collections_are_refused(module, message):
    collection = type("Collection", (), {"__module__": module})()
    with pytest.raises(TypeError, match=message):
        TFSOM(2).fit(collection)
