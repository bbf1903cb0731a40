"""A fit that was broken off and is started again ends in the bits of one that never stopped."""

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checkpoint_workers import N_EPOCHS_ALIVE
from distributed_cases import DIGITS, IRIS, MOST, WINE, holes
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from test_distributed import finish, start_workers

from sklearn_tfsom import TFSOM
from sklearn_tfsom._checkpoint import Checkpoint
from sklearn_tfsom._data.samples import Samples

HERE = Path(__file__).parent
FEW = DIGITS[:300]
WEIGHTS = np.random.RandomState(1).choice([0.0, 1.0, 2.0, 3.5], size=len(FEW))


def cauchy(squared_distances, radius):
    return 1 / (1 + squared_distances / radius**2)


# name: (parameters, samples, weights)
CASES = {
    "dense": ({"max_iter": 20}, IRIS, None),
    "float32": ({}, FEW.astype(np.float32), None),
    "sparse": ({}, csr_array(FEW), None),
    "missing": ({}, holes(WINE), None),
    "weights": ({}, FEW, WEIGHTS),
    "mini-batches": ({"batch_size": 64}, FEW, WEIGHTS),
    "coarse to fine": ({"grid_size": 16, "radius_start": 8}, FEW, None),
    "topographic error": ({"compute_topographic_error": True}, IRIS, None),
    "callable": ({"neighborhood": cauchy}, WINE, None),
    "radii": ({"radius_decay": [3, 1, 2, 0.5], "max_iter": 4}, WINE, None),
    "cosine": ({"metric": "cosine"}, FEW, WEIGHTS),
    "manhattan": ({"metric": "manhattan"}, WINE, None),
    "drawn": ({"init": "sample", "random_state": 3}, FEW, None),
    "clusters": ({"n_clusters": 3}, WINE, None),
    "settles": ({"tol": 0.002, "max_iter": 20}, IRIS, None),
}
CASES = {
    name: ({"grid_size": 6, "max_iter": 6} | params, *data)
    for name, (params, *data) in CASES.items()
}


class BrokenOffError(Exception):
    pass


def break_off(monkeypatch, som, X, weights=None, *, after):
    """Fit, but no further than the file of so many epochs."""
    left = iter(range(after - 1, -1, -1))
    write = Checkpoint.write

    def last_write(self, *arguments):
        write(self, *arguments)
        if next(left) == 0:
            raise BrokenOffError

    with monkeypatch.context() as patch, pytest.raises(BrokenOffError):
        patch.setattr(Checkpoint, "write", last_write)
        som.fit(X, sample_weight=weights)


def bits(som):
    """All that a fit leaves behind."""
    state = {name: value for name, value in vars(som).items() if name.endswith("_")}
    state |= {"residuals": getattr(som, "_residuals", None)} | state.pop("history_")
    return {name: np.asarray(value).tobytes() for name, value in state.items()}


def n_epochs_in(path):
    with np.load(path) as file:
        return len(file["history_radius"])


class TestResumed:
    @pytest.mark.parametrize("name", CASES)
    def test_after_any_epoch(self, name, tmp_path, monkeypatch):
        params, X, weights = CASES[name]
        whole = TFSOM(**params).fit(X, sample_weight=weights)
        som = TFSOM(**params, checkpoint_dir=tmp_path)
        for after in range(1, whole.n_iter_):
            break_off(monkeypatch, som, X, weights, after=after)
            (file,) = tmp_path.iterdir()
            assert n_epochs_in(file) == after
            assert not hasattr(som, "codebook_")
            resumed = TFSOM(**som.get_params()).fit(X, sample_weight=weights)
            assert bits(resumed) == bits(whole)
            assert not list(tmp_path.iterdir())

    def test_cases_are_what_their_names_say(self):
        """One searches coarser grids at first, one settles before its last epoch."""
        params, X, _ = CASES["coarse to fine"]
        plain = TFSOM(**params | {"coarse_to_fine": False}).fit(X)
        assert bits(TFSOM(**params).fit(X)) != bits(plain)
        params, X, _ = CASES["settles"]
        assert 16 < TFSOM(**params).fit(X).n_iter_ < 20

    @pytest.mark.parametrize("after", [1, 3, 5])
    def test_on_subsets(self, tmp_path, monkeypatch, after):
        whole = TFSOM(6, max_iter=6).fit(MOST)
        som = TFSOM(6, max_iter=6, checkpoint_dir=tmp_path)
        break_off(monkeypatch, som, MOST, after=after)
        som.fit(MOST)
        # Its errors are rounded otherwise once a search has been large enough to be compiled.
        assert som.codebook_.tobytes() == whole.codebook_.tobytes()
        assert_allclose(
            som.history_["quantization_error"], whole.history_["quantization_error"], rtol=1e-9
        )

    def test_after_every_epoch(self, tmp_path, monkeypatch):
        whole = TFSOM(6).fit(WINE)
        som = TFSOM(6, checkpoint_dir=tmp_path)
        for _ in range(whole.n_iter_ - 1):
            break_off(monkeypatch, som, WINE, after=1)
        assert bits(som.fit(WINE)) == bits(whole)

    def test_data_on_disk(self, tmp_path, monkeypatch):
        monkeypatch.setattr("sklearn_tfsom._data.samples._MIN_BYTES_ON_DISK", 1)
        np.save(tmp_path / "X.npy", FEW)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
        assert Samples(X).is_on_disk
        for params in ({}, {"batch_size": 32}):
            som = TFSOM(6, max_iter=5, checkpoint_dir=tmp_path / "kept", **params)
            break_off(monkeypatch, som, X, WEIGHTS, after=2)
            whole = TFSOM(6, max_iter=5, **params).fit(X, sample_weight=WEIGHTS)
            assert bits(som.fit(X, sample_weight=WEIGHTS)) == bits(whole)

    def test_epochs_done_are_not_done_again(self, tmp_path, monkeypatch, capsys):
        som = TFSOM(6, max_iter=5, verbose=1, checkpoint_dir=tmp_path)
        break_off(monkeypatch, som, WINE, after=3)
        capsys.readouterr()
        som.fit(WINE)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines] == [
            "[TFSOM] epoch 4/5",
            "[TFSOM] epoch 5/5",
        ]

    def test_what_is_done_after_training_may_change(self, tmp_path, monkeypatch):
        som = TFSOM(6, checkpoint_dir=tmp_path)
        break_off(monkeypatch, som, WINE, after=3)
        som.set_params(n_clusters=3, features="coordinates", verbose=False)
        assert bits(som.fit(WINE)) == bits(TFSOM(6, n_clusters=3).fit(WINE))
        assert not list(tmp_path.iterdir())


class TestKilled:
    def test_at_random_moments(self):
        """The script says what it checks."""
        command = [sys.executable, HERE / "kill_and_resume.py", "4", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        assert "the same bits after 4 kills" in done.stdout

    def test_a_worker_of_two(self, tmp_path):
        """Both start again, and end in the bits of two that have never stopped."""
        first, second = start_workers(2, "checkpoint_workers.py", tmp_path, "mortal")
        out, err = finish(first)
        finish(second)
        assert out == "0 epochs were done\n"
        assert "RuntimeError: A worker of this fit is gone" in err
        (n_done,) = map(n_epochs_in, tmp_path.iterdir())
        # The first one may fail in the last sum of this epoch, or in the first of the next.
        assert n_done in (N_EPOCHS_ALIVE - 1, N_EPOCHS_ALIVE)
        for worker in start_workers(2, "checkpoint_workers.py", tmp_path, "immortal"):
            out, err = finish(worker)
            assert out.splitlines() == [
                f"{n_done} epochs were done",
                "0 epochs were done",
                "the same bits",
            ], err[-3000:]
        assert not list(tmp_path.iterdir())


def exact_sums():
    """Samples of whole numbers, of which mean and covariance have no rounding to differ by."""
    half = np.random.RandomState(0).randint(-8, 9, size=(32, 4)).astype(np.float64)
    half[-1] -= half.sum(axis=0)
    return np.vstack([half, half[::-1] * [1, -1, 1, -1], half * [-1, 1, 1, -1], half - half])


X = exact_sums()
SHUFFLED = X[np.random.RandomState(1).permutation(len(X))]
ONE_FEATURE_SHUFFLED = np.column_stack([SHUFFLED[:, 0], X[:, 1:]])


def with_hole(X):
    X = X.copy()
    X[0, 3] = np.nan
    return X


# name: twice (parameters, samples, weights)
PAIRS = {
    "mirrored": (({}, X, None), ({}, -X, None)),
    "shuffled": (({"batch_size": 32}, X, None), ({"batch_size": 32}, SHUFFLED, None)),
    "one feature shuffled": (
        ({"init": X[:25]}, with_hole(X), None),
        ({"init": X[:25]}, with_hole(ONE_FEATURE_SHUFFLED), None),
    ),
    "sparse": (
        ({"init": X[:25]}, csr_array(X), None),
        ({"init": X[:25]}, csr_array(ONE_FEATURE_SHUFFLED), None),
    ),
    "precision": (({}, X, None), ({}, X.astype(np.float32), None)),
    "weights": (({}, X, 1 + np.arange(128) % 2), ({}, X, 2 - np.arange(128) % 2)),
    "batch_size": (({"batch_size": np.int64(16)}, X, None), ({"batch_size": 32}, X, None)),
    "integers of NumPy": (
        ({"batch_size": np.int64(16)}, X, None),
        ({"batch_size": np.int64(32)}, X, None),
    ),
    "tol": (({"tol": 1}, X, None), ({"tol": 0}, X, None)),
    "max_iter": (({"max_iter": 8}, X, None), ({"max_iter": 9}, X, None)),
    "history": (
        ({"compute_topographic_error": np.True_}, X, None),
        ({"compute_topographic_error": np.False_}, X, None),
    ),
    "functions": (
        ({"neighborhood": cauchy, "radius_start": 2}, X, None),
        ({"neighborhood": lambda d, r: cauchy(d, min(r, 1)), "radius_start": 2}, X, None),
    ),
    "metric": (({"metric": "manhattan"}, X, None), ({"metric": "chebyshev"}, X, None)),
    "start": (
        ({"init": "sample", "random_state": 0}, X, None),
        ({"init": "sample", "random_state": 1}, X, None),
    ),
}


class TestSeveralFits:
    @pytest.mark.parametrize("name", PAIRS)
    def test_each_has_its_own_file(self, name, tmp_path, monkeypatch):
        maps = [
            TFSOM(**{"grid_size": 5, "checkpoint_dir": tmp_path, **params})
            for params, _, _ in PAIRS[name]
        ]
        samples = [(X, weights) for _, X, weights in PAIRS[name]]
        for som, given in zip(maps, samples, strict=True):
            break_off(monkeypatch, som, *given, after=3)
        assert len(list(tmp_path.iterdir())) == 2
        for som, (X, weights) in zip(maps, samples, strict=True):
            som.fit(X, sample_weight=weights)
            whole = TFSOM(**som.get_params() | {"checkpoint_dir": None})
            assert bits(som) == bits(whole.fit(X, sample_weight=weights))
        assert not list(tmp_path.iterdir())

    def test_the_same_fit_at_once(self, tmp_path):
        """As a grid search over `n_clusters` does in threads or processes."""
        wanted = {k: bits(TFSOM(6, n_clusters=k).fit(WINE)) for k in (2, 3, 4)}
        barrier = threading.Barrier(6)

        def fit(k):
            barrier.wait()
            return bits(TFSOM(6, n_clusters=k, checkpoint_dir=tmp_path).fit(WINE)) == wanted[k]

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(fit, [2, 3, 4, 2, 3, 4]))
        assert not list(tmp_path.iterdir())

    def test_the_same_fit_clears_away_what_this_one_is_writing(self, tmp_path, monkeypatch):
        """As it does when it starts."""

        def cleared_away(_):
            (partial,) = tmp_path.glob("*.partial")
            partial.unlink()

        monkeypatch.setattr("os.fsync", cleared_away)
        som = TFSOM(6, max_iter=6, checkpoint_dir=tmp_path).fit(WINE)
        assert bits(som) == bits(TFSOM(6, max_iter=6).fit(WINE))


def saved(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def plain_array():
    file = io.BytesIO()
    np.save(file, IRIS)
    return file.getvalue()


class TestFile:
    @pytest.fixture
    def broken_off(self, tmp_path, monkeypatch):
        """A map that was broken off, and its file."""
        som = TFSOM(6, max_iter=6, checkpoint_dir=tmp_path)
        break_off(monkeypatch, som, WINE, after=3)
        (file,) = tmp_path.iterdir()
        return som, file

    def check_refused(self, som, file):
        with pytest.raises(ValueError) as caught:
            som.fit(WINE)
        assert str(caught.value) == (
            f"{file} is no checkpoint of this fit. Remove it to begin anew."
        )
        assert not hasattr(som, "codebook_")
        assert file.exists()

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no archive",
            plain_array(),
            saved(a=IRIS),
            saved(history_radius=np.ones(3), history_quantization_error=np.ones(3)),
            saved(codebook=np.array(None)),
        ],
        ids=["nothing", "text", "array", "other arrays", "no state", "pickled"],
    )
    def test_of_something_else(self, broken_off, content):
        som, file = broken_off
        file.write_bytes(content)
        self.check_refused(som, file)

    @pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
    def test_cut_off(self, broken_off, share):
        som, file = broken_off
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        self.check_refused(som, file)
        file.unlink()
        assert som.fit(WINE).n_iter_ == 6

    def test_with_a_bit_that_has_flipped(self, broken_off):
        """It is refused, or else it is a bit that means nothing."""
        som, file = broken_off
        content, whole = file.read_bytes(), bits(TFSOM(6, max_iter=6).fit(WINE))
        rng = np.random.RandomState(0)
        n_refused = 0
        # Half of them in the last kilobyte, where the archive's table of contents is.
        for place in [*rng.randint(len(content), size=30), *-rng.randint(1, 1000, size=30)]:
            damaged = bytearray(content)
            damaged[place] ^= 1 << rng.randint(8)
            file.write_bytes(damaged)
            try:
                assert bits(TFSOM(**som.get_params()).fit(WINE)) == whole
            except ValueError as error:
                assert str(error).endswith("Remove it to begin anew.")
                n_refused += 1
        assert n_refused > 20

    def test_a_half_written_one_is_cleared_away(self, broken_off):
        som, file = broken_off
        half = file.with_name(f"{file.stem}-abc.partial")
        other = file.with_name("tfsom-of-another-fit-abc.partial")
        half.write_bytes(file.read_bytes()[:100])
        other.write_bytes(b"")
        som.fit(WINE)
        assert list(file.parent.iterdir()) == [other]

    def test_it_cannot_be_written(self, broken_off, monkeypatch):
        """The one before stays, and nothing else."""
        som, file = broken_off

        def full(*_):
            raise OSError(28, "No space left on device")

        content = file.read_bytes()
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr("os.fsync", full)
            som.fit(WINE)
        assert [path.read_bytes() for path in file.parent.iterdir()] == [content]
        assert bits(som.fit(WINE)) == bits(TFSOM(6, max_iter=6).fit(WINE))


class TestDirectory:
    @pytest.mark.parametrize("kind", [str, Path])
    def test_it_is_made(self, tmp_path, kind):
        directory = tmp_path / "a" / "b"
        TFSOM(4, checkpoint_dir=kind(directory)).fit(IRIS)
        assert directory.is_dir()
        assert not list(directory.iterdir())

    @pytest.mark.parametrize("wrong", [1, True, ["a"], b"a"])
    def test_it_is_no_path(self, wrong):
        says = rf"The 'checkpoint_dir' parameter of TFSOM must be a path or None\. Got {wrong!r}"
        with pytest.raises(ValueError, match=says.replace("[", r"\[")):
            TFSOM(4, checkpoint_dir=wrong).fit(IRIS)

    def test_partial_fit_keeps_nothing(self, tmp_path):
        TFSOM(4, checkpoint_dir=tmp_path / "a").partial_fit(IRIS)
        assert not list(tmp_path.iterdir())
