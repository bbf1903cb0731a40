"""An interrupted fit that is resumed from its checkpoint equals an uninterrupted one."""

import io
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from distributed_cases import (
    DIGITS,
    IRIS,
    LARGE,
    SUBSAMPLED,
    WINE,
    impute_code_vectors,
    remove_values,
)
from interruptions import stop_after
from scipy.sparse import csr_array

from sklearn_tfsom import TFSOM, InvalidParameterError

HERE = Path(__file__).parent
N_EPOCHS_BEFORE_KILL = 5  # of the second worker in `checkpoint_workers.py`
FEW = DIGITS[:300]
WEIGHTS = np.random.RandomState(1).choice([0.0, 1.0, 2.0, 3.5], size=len(FEW))


def cauchy(squared_distances, radius):
    return 1 / (1 + squared_distances / radius**2)


# name: (parameters, samples, weights)
CASES = {
    "dense": ({"max_iter": 20}, IRIS, None),
    "float32": ({}, FEW.astype(np.float32), None),
    "sparse": ({}, csr_array(FEW), None),
    "missing": ({}, remove_values(WINE), None),
    "weights": ({}, FEW, WEIGHTS),
    "mini-batches": ({"batch_size": 64}, FEW, WEIGHTS),
    "coarse to fine": ({"grid_size": 16, "radius_start": 8}, FEW, None),
    "topographic error": ({"compute_topographic_error": True}, IRIS, None),
    "callable": ({"neighborhood": cauchy}, WINE, None),
    "radii": ({"radius_decay": [3, 1, 2, 0.5], "max_iter": 4}, WINE, None),
    "cosine": ({"metric": "cosine"}, FEW, WEIGHTS),
    "manhattan": ({"metric": "manhattan"}, WINE, None),
    "random start": ({"init": "sample", "random_state": 3}, FEW, None),
    "clusters": ({"n_clusters": 3}, WINE[::3], None),
    "converges": ({"tol": 0.002, "max_iter": 20}, IRIS, None),
}
CASES = {
    name: ({"grid_size": 6, "max_iter": 6} | params, *data)
    for name, (params, *data) in CASES.items()
}


def get_bits(som):
    """Return all results of a fit as bytes."""
    state = {name: value for name, value in vars(som).items() if name.endswith("_")}
    state |= {"imputed": impute_code_vectors(som)} | state.pop("history_")
    return {name: np.asarray(value).tobytes() for name, value in state.items()}


def count_epochs(path):
    with np.load(path) as file:
        return len(file["history_radius"])


class RecordingCallback:
    """A callback that records the calls of its methods."""

    def __init__(self):
        self.events = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context):
        self.events.append(f"end {context.task_name} {context.task_id}")


class StoppingCallback(RecordingCallback):
    """A callback that stops a fit after an epoch (counted from 0)."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def on_fit_task_end(self, estimator, context):
        super().on_fit_task_end(estimator, context)
        return context.task_name == "epoch" and context.task_id >= self.last


class MovingCallback(RecordingCallback):
    """A callback that changes the working directory after each epoch."""

    def __init__(self, directory):
        super().__init__()
        self.directory = directory

    def on_fit_task_end(self, estimator, context):
        os.chdir(self.directory)


class FailingTeardown(RecordingCallback):
    """A callback that raises at the end of a fit."""

    def teardown(self, estimator, context):
        raise OSError("in teardown")


class TestResume:
    @pytest.mark.parametrize("name", CASES)
    def test_interrupted_after_any_epoch(self, name, tmp_path):
        params, X, weights = CASES[name]
        whole = TFSOM(**params).fit(X, sample_weight=weights)
        som = TFSOM(**params, checkpoint_dir=tmp_path)
        for after in range(1, whole.n_iter_):
            stop_after(after, som, X, weights)
            (file,) = tmp_path.iterdir()
            assert count_epochs(file) == after
            assert not hasattr(som, "codebook_")
            resumed = TFSOM(**som.get_params()).fit(X, sample_weight=weights)
            assert get_bits(resumed) == get_bits(whole)
            assert not list(tmp_path.iterdir())

    def test_kind_of_a_number_does_not_matter(self, tmp_path):
        som = TFSOM(6, max_iter=6, tol=1e-4, checkpoint_dir=tmp_path)
        stop_after(3, som, WINE)
        TFSOM(6, max_iter=np.int64(6), tol=np.float64(1e-4), checkpoint_dir=tmp_path).fit(WINE)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("kind", [np.str_, lambda text: Enum("Name", {"A": text}, type=str).A])
    def test_kind_of_a_text_does_not_matter(self, kind, tmp_path):
        texts = {k: kind(v) for k, v in TFSOM().get_params().items() if isinstance(v, str)}
        som = TFSOM(max_iter=6, checkpoint_dir=tmp_path)
        stop_after(3, som, WINE)
        som.set_params(**texts).fit(WINE)
        assert not list(tmp_path.iterdir())

    def test_neighborhood_function_may_change_its_argument(self, tmp_path):
        def hat(squared_distances, radius):
            squared_distances /= radius**2
            return (1 - squared_distances) * np.exp(-squared_distances / 2)

        params = {"neighborhood": hat, "radius_decay": np.full(60, 1e-3), "max_iter": 60}
        expected = get_bits(TFSOM(4, **params).fit(IRIS))
        assert get_bits(TFSOM(4, **params, checkpoint_dir=tmp_path).fit(IRIS)) == expected

    def test_cases_are_coarse_to_fine_and_converge(self):
        params, X, _ = CASES["coarse to fine"]
        plain = TFSOM(**params | {"coarse_to_fine": False}).fit(X)
        assert get_bits(TFSOM(**params).fit(X)) != get_bits(plain)
        params, X, _ = CASES["converges"]
        assert 16 < TFSOM(**params).fit(X).n_iter_ < 20

    @pytest.mark.parametrize("after", [1, 3, 5])
    def test_interrupted_on_subsamples(self, tmp_path, after):
        whole = TFSOM(6, max_iter=6).fit(SUBSAMPLED)
        som = TFSOM(6, max_iter=6, checkpoint_dir=tmp_path)
        stop_after(after, som, SUBSAMPLED)
        som.fit(SUBSAMPLED)
        assert get_bits(som) == get_bits(whole)

    def test_rest_is_searched_as_the_whole(self, tmp_path, monkeypatch):
        """NumPy would search the rest alone, and sum up errors in another way."""
        X = WINE.astype(np.float32)
        most = 6 * 36 * len(X)
        monkeypatch.setattr("sklearn_tfsom._search.nearest.MAX_NUMPY_SCORES", most)
        som = TFSOM(6, coarse_to_fine=False, max_iter=8, checkpoint_dir=tmp_path)
        whole = TFSOM(6, coarse_to_fine=False, max_iter=8).fit(X)
        stop_after(5, som, X)
        assert get_bits(som.fit(X)) == get_bits(whole)

    def test_interrupted_after_every_epoch(self, tmp_path):
        whole = TFSOM(6).fit(WINE)
        som = TFSOM(6, checkpoint_dir=tmp_path)
        for _ in range(whole.n_iter_ - 1):
            stop_after(1, som, WINE)
        assert get_bits(som.fit(WINE)) == get_bits(whole)

    @pytest.mark.parametrize("params", [{}, {"batch_size": 9000}], ids=["full", "mini-batches"])
    def test_samples_on_disk(self, tmp_path, params):
        np.save(tmp_path / "X.npy", LARGE)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
        weights = 1.0 + np.arange(len(X)) % 3
        som = TFSOM(4, max_iter=3, checkpoint_dir=tmp_path / "checkpoints", **params)
        stop_after(1, som, X, weights)
        whole = TFSOM(4, max_iter=3, **params).fit(X, sample_weight=weights)
        assert get_bits(som.fit(X, sample_weight=weights)) == get_bits(whole)

    def test_saved_epochs_are_not_repeated(self, tmp_path, capsys):
        som = TFSOM(6, max_iter=5, verbose=1, checkpoint_dir=tmp_path)
        stop_after(3, som, WINE)
        capsys.readouterr()
        som.fit(WINE)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines] == [
            "[TFSOM] epoch 4/5",
            "[TFSOM] epoch 5/5",
        ]

    def test_parameters_used_after_training_may_change(self, tmp_path):
        som = TFSOM(6, checkpoint_dir=tmp_path)
        stop_after(3, som, WINE)
        som.set_params(
            n_clusters=3, features="coordinates", anomaly_score="u_height", verbose=False
        )
        assert get_bits(som.fit(WINE)) == get_bits(TFSOM(6, n_clusters=3).fit(WINE))
        assert not list(tmp_path.iterdir())

    def test_interrupted_after_the_last_epoch(self, tmp_path, monkeypatch):
        """Nothing is written there, since no epoch is left to resume with."""
        som = TFSOM(6, max_iter=4, tol=0, checkpoint_dir=tmp_path)
        replace, n_written = os.replace, 0

        def count(*paths):
            nonlocal n_written
            replace(*paths)
            n_written += 1

        def stop(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("os.replace", count)
            patch.setattr("sklearn_tfsom._som.set_fitted", stop)
            som.fit(WINE)
        assert n_written == 3
        assert get_bits(som.fit(WINE)) == get_bits(TFSOM(6, max_iter=4, tol=0).fit(WINE))

    def test_callback_gets_the_numbers_of_all_epochs(self, tmp_path):
        """A callback that stops at an epoch stops a resumed fit at the same one."""
        pytest.importorskip("sklearn.callback")
        whole = TFSOM(6, max_iter=6, tol=0).set_callbacks(StoppingCallback(4)).fit(WINE)
        som, callback = TFSOM(6, max_iter=6, tol=0, checkpoint_dir=tmp_path), StoppingCallback(4)
        stop_after(3, som, WINE)
        som.set_callbacks(callback).fit(WINE)
        epochs = [f"{what} epoch {number}" for number in (3, 4) for what in ("begin", "end")]
        assert callback.events == ["begin fit 0", *epochs, "end fit 0"]
        assert get_bits(som) == get_bits(whole)
        assert not list(tmp_path.iterdir())

    def test_callback_fails_in_teardown(self, tmp_path):
        """All epochs but the last one are kept, as after an interrupt."""
        pytest.importorskip("sklearn.callback")
        som = TFSOM(6, max_iter=4, tol=0, checkpoint_dir=tmp_path)
        with pytest.raises(OSError, match="in teardown"):
            som.set_callbacks(FailingTeardown()).fit(WINE)
        (file,) = tmp_path.iterdir()
        assert count_epochs(file) == 3
        som.set_callbacks().fit(WINE)
        assert get_bits(som) == get_bits(TFSOM(6, max_iter=4, tol=0).fit(WINE))
        assert not list(tmp_path.iterdir())


class TestKill:
    def test_killed_at_random_times(self):
        """`kill_and_resume.py` compares the results."""
        command = [sys.executable, HERE / "kill_and_resume.py", "4", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        assert re.search(r"to the end: identical after \d+ kills", done.stdout)

    def test_one_of_two_workers_killed(self, tmp_path):
        """Both workers are started again, and resume from the checkpoint of the first one."""
        command = [sys.executable, HERE / "checkpoint_workers.py", tmp_path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        printed = {path.name: path.read_text() for path in tmp_path.glob("*.*")}
        assert printed["killed-0.out"].startswith("[TFSOM] epoch 1/20")
        assert "RuntimeError: Worker 1 of this fit failed" in printed["killed-0.err"]
        report = json.loads(printed["killed-0.out"].splitlines()[-1])
        assert report["seconds"] < 60
        assert report["attributes"] == []  # the estimator is unchanged
        n_saved = int(done.stdout)
        # The second worker may have sent its sums of the next epoch before it is killed.
        assert n_saved in (N_EPOCHS_BEFORE_KILL, N_EPOCHS_BEFORE_KILL + 1)
        errors = printed["resumed-0.err"][-3000:] + printed["resumed-1.err"][-3000:]
        lines = printed["resumed-0.out"].splitlines()
        assert lines[0].startswith(f"[TFSOM] epoch {n_saved + 1}/20"), errors
        assert lines[-1] == printed["resumed-1.out"].strip() == "identical", errors
        assert not list((tmp_path / "checkpoints").iterdir())


def make_integers():
    """Return samples of small integers, whose mean and covariance are exact."""
    half = np.random.RandomState(0).randint(-8, 9, size=(32, 4)).astype(np.float64)
    half[-1] -= half.sum(axis=0)
    return np.vstack([half, half[::-1] * [1, -1, 1, -1], half * [-1, 1, 1, -1], half - half])


X = make_integers()
SHUFFLED = X[np.random.RandomState(1).permutation(len(X))]
ONE_FEATURE_SHUFFLED = np.column_stack([SHUFFLED[:, 0], X[:, 1:]])


def remove_one_value(X):
    X = X.copy()
    X[0, 3] = np.nan
    return X


# name: two fits, each (parameters, samples, weights)
PAIRS = {
    "mirrored": (({}, X, None), ({}, -X, None)),
    "shuffled": (({"batch_size": 32}, X, None), ({"batch_size": 32}, SHUFFLED, None)),
    "one feature shuffled": (
        ({"init": X[:25]}, remove_one_value(X), None),
        ({"init": X[:25]}, remove_one_value(ONE_FEATURE_SHUFFLED), None),
    ),
    "sparse": (
        ({"init": X[:25]}, csr_array(X), None),
        ({"init": X[:25]}, csr_array(ONE_FEATURE_SHUFFLED), None),
    ),
    "precision": (({}, X, None), ({}, X.astype(np.float32), None)),
    "weights": (({}, X, 1 + np.arange(128) % 2), ({}, X, 2 - np.arange(128) % 2)),
    "batch_size": (({"batch_size": np.int64(16)}, X, None), ({"batch_size": 32}, X, None)),
    "NumPy integers": (
        ({"batch_size": np.int64(16)}, X, None),
        ({"batch_size": np.int64(32)}, X, None),
    ),
    "tol": (({"tol": 1}, X, None), ({"tol": 0}, X, None)),
    "max_iter": (({"max_iter": 8}, X, None), ({"max_iter": 9}, X, None)),
    "topographic error": (
        ({"compute_topographic_error": np.True_}, X, None),
        ({"compute_topographic_error": np.False_}, X, None),
    ),
    "functions": (
        ({"neighborhood": cauchy, "radius_start": 2}, X, None),
        ({"neighborhood": lambda d, r: cauchy(d, min(r, 1)), "radius_start": 2}, X, None),
    ),
    "metric": (({"metric": "manhattan"}, X, None), ({"metric": "chebyshev"}, X, None)),
    "lengths": (  # the same directions, but other subsamples
        ({"metric": "cosine"}, SUBSAMPLED, None),
        ({"metric": "cosine"}, SUBSAMPLED * 2.0 ** (np.arange(40000) % 7)[:, None], None),
    ),
    "random start": (
        ({"init": "sample", "random_state": 0}, X, None),
        ({"init": "sample", "random_state": 1}, X, None),
    ),
}


class TestSharedDirectory:
    @pytest.mark.parametrize("name", PAIRS)
    def test_different_fits_have_different_files(self, name, tmp_path):
        maps = [
            TFSOM(**{"grid_size": 5, "checkpoint_dir": tmp_path, **params})
            for params, _, _ in PAIRS[name]
        ]
        samples = [(X, weights) for _, X, weights in PAIRS[name]]
        for som, given in zip(maps, samples, strict=True):
            stop_after(3, som, *given)
        assert len(list(tmp_path.iterdir())) == 2
        for som, (X, weights) in zip(maps, samples, strict=True):
            som.fit(X, sample_weight=weights)
            whole = TFSOM(**som.get_params() | {"checkpoint_dir": None})
            assert get_bits(som) == get_bits(whole.fit(X, sample_weight=weights))
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "values",
        [{"metric": ["euclidean", "chebyshev"]}, {"tol": [0, 1e-3]}, {"own": [1, 2]}],
        ids=["metric", "tol", "parameter of the subclass"],
    )
    def test_subclasses_have_different_files(self, tmp_path, values):
        """A subclass may set parameters that it does not list."""

        class OwnSOM(TFSOM):
            def __init__(self, own=0, checkpoint_dir=None):
                super().__init__(5, coarse_to_fine=False, checkpoint_dir=checkpoint_dir)
                self.own = own

        for index in (0, 1):
            som = OwnSOM(checkpoint_dir=tmp_path)
            vars(som).update({name: pair[index] for name, pair in values.items()})
            stop_after(3, som, X)
        assert len(list(tmp_path.iterdir())) == 2

    def test_same_fit_in_several_threads(self, tmp_path):
        """A grid search over `n_clusters` does this."""
        X = WINE[::3]
        expected = {k: get_bits(TFSOM(6, n_clusters=k).fit(X)) for k in (2, 3, 4)}
        barrier = threading.Barrier(6)

        def fit(k):
            barrier.wait()
            return get_bits(TFSOM(6, n_clusters=k, checkpoint_dir=tmp_path).fit(X)) == expected[k]

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(fit, [2, 3, 4, 2, 3, 4]))
        assert not list(tmp_path.iterdir())

    def test_incomplete_file_removed_by_the_same_fit(self, tmp_path, monkeypatch):
        """The same fit, started in another process, removes incomplete files."""

        def remove_partial(_):
            (partial,) = tmp_path.glob("*.partial")
            partial.unlink()

        monkeypatch.setattr("os.fsync", remove_partial)
        som = TFSOM(6, max_iter=6, checkpoint_dir=tmp_path).fit(WINE)
        assert get_bits(som) == get_bits(TFSOM(6, max_iter=6).fit(WINE))


def save_arrays(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def save_plain_array():
    file = io.BytesIO()
    np.save(file, IRIS)
    return file.getvalue()


class MakesFile:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


class TestFile:
    @pytest.fixture
    def interrupted(self, tmp_path):
        """Return an interrupted map and its checkpoint."""
        som = TFSOM(6, max_iter=6, checkpoint_dir=tmp_path)
        stop_after(3, som, WINE)
        (file,) = tmp_path.iterdir()
        return som, file

    def check_refused(self, som, file):
        with pytest.raises(ValueError) as caught:
            som.fit(WINE)
        assert str(caught.value) == (
            f"{file} is not a checkpoint of this fit. Remove it to begin again."
        )
        assert not hasattr(som, "codebook_")
        assert file.exists()

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no archive",
            save_plain_array(),
            save_arrays(a=IRIS),
            save_arrays(history_radius=np.ones(3), history_quantization_error=np.ones(3)),
        ],
        ids=["empty", "text", "array", "other arrays", "no state"],
    )
    def test_other_content_is_refused(self, interrupted, content):
        som, file = interrupted
        file.write_bytes(content)
        self.check_refused(som, file)

    def test_pickled_objects_are_never_loaded(self, interrupted, tmp_path):
        som, file = interrupted
        made = tmp_path / "made"
        file.write_bytes(save_arrays(codebook=np.array([MakesFile(made)])))
        self.check_refused(som, file)
        assert not made.exists()
        dict(np.load(file, allow_pickle=True))
        assert made.exists()

    @pytest.mark.parametrize(
        "name, change",
        [
            ("state_codebook", lambda a: a * np.nan),
            ("state_codebook", lambda a: np.where(a == a.max(), 0, a)),
            ("state_codebook", lambda a: a[:-1]),
            ("state_counts", lambda a: a * np.nan),
            ("state_counts", lambda a: -a),
            ("state_sums", lambda a: a[..., :-1]),
            ("state_sums", lambda a: a.astype(np.float32)),
            ("history_radius", lambda a: a[:0]),
            ("history_radius", lambda a: np.tile(a, 9)),
            ("history_quantization_error", lambda a: a[0]),
        ],
        ids=[
            *("NaN codebook", "another value", "another grid", "NaN counts", "negative counts"),
            *("other features", "float32", "no history", "long history", "no array"),
        ],
    )
    def test_changed_arrays_are_refused(self, interrupted, name, change):
        som, file = interrupted
        with np.load(file) as arrays:
            changed = dict(arrays)
        changed[name] = change(changed[name])
        file.write_bytes(save_arrays(**changed))
        self.check_refused(som, file)

    def test_file_of_another_fit_is_refused(self, interrupted, tmp_path):
        som, file = interrupted
        other = TFSOM(6, max_iter=6, batch_size=32, checkpoint_dir=tmp_path / "other")
        stop_after(3, other, WINE)
        (other_file,) = (tmp_path / "other").iterdir()
        other_file.replace(file)
        self.check_refused(som, file)

    @pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
    def test_truncated_file_is_refused(self, interrupted, share):
        som, file = interrupted
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        self.check_refused(som, file)
        file.unlink()
        assert som.fit(WINE).n_iter_ == 6

    def test_flipped_bit_is_refused_or_irrelevant(self, interrupted):
        som, file = interrupted
        content, whole = file.read_bytes(), get_bits(TFSOM(6, max_iter=6).fit(WINE))
        rng = np.random.RandomState(0)
        n_refused = 0
        # Half of them are in the last kilobyte, the directory of the archive.
        for place in [*rng.randint(len(content), size=30), *-rng.randint(1, 1000, size=30)]:
            damaged = bytearray(content)
            damaged[place] ^= 1 << rng.randint(8)
            file.write_bytes(damaged)
            try:
                assert get_bits(TFSOM(**som.get_params()).fit(WINE)) == whole
            except ValueError as error:
                assert str(error).endswith("Remove it to begin again.")
                n_refused += 1
        assert n_refused > 20

    def test_incomplete_file_of_this_fit_is_removed(self, interrupted):
        som, file = interrupted
        partial = file.with_name(f"{file.stem}-abc.partial")
        other = file.with_name("tfsom-another-fit-abc.partial")
        partial.write_bytes(file.read_bytes()[:100])
        other.write_bytes(b"")
        som.fit(WINE)
        assert list(file.parent.iterdir()) == [other]

    def test_failed_write_keeps_the_previous_checkpoint(self, interrupted, monkeypatch):
        som, file = interrupted

        def raise_disk_full(*_):
            raise OSError(28, "No space left on device")

        content = file.read_bytes()
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr("os.fsync", raise_disk_full)
            som.fit(WINE)
        assert [path.read_bytes() for path in file.parent.iterdir()] == [content]
        assert get_bits(som.fit(WINE)) == get_bits(TFSOM(6, max_iter=6).fit(WINE))


class BytesPath(os.PathLike):
    def __fspath__(self):
        return b"a"


class TestDirectory:
    @pytest.mark.parametrize("kind", [str, Path])
    def test_missing_directory_is_created(self, tmp_path, kind):
        directory = tmp_path / "a" / "b"
        TFSOM(4, checkpoint_dir=kind(directory)).fit(IRIS)
        assert directory.is_dir()
        assert not list(directory.iterdir())

    def test_relative_directory_is_that_of_the_call(self, tmp_path, monkeypatch):
        pytest.importorskip("sklearn.callback")
        other = tmp_path / "other"
        other.mkdir()
        monkeypatch.chdir(tmp_path)
        som = TFSOM(6, max_iter=6, tol=0, checkpoint_dir="checkpoints")
        stop_after(3, som.set_callbacks(MovingCallback(other)), WINE)
        (file,) = (tmp_path / "checkpoints").iterdir()
        assert count_epochs(file) == 3
        monkeypatch.chdir(tmp_path)
        som.fit(WINE)
        assert get_bits(som) == get_bits(TFSOM(6, max_iter=6, tol=0).fit(WINE))
        assert not list((tmp_path / "checkpoints").iterdir())
        assert not list(other.iterdir())

    def test_invalid_parameters_create_no_directory(self, tmp_path):
        directory = tmp_path / "a"
        with pytest.raises(InvalidParameterError, match="'n_clusters'"):
            TFSOM(3, checkpoint_dir=directory, n_clusters=10).fit(IRIS)
        assert not directory.exists()

    @pytest.mark.parametrize("value", [1, True, ["a"], b"a", BytesPath()])
    def test_other_types_are_refused(self, value):
        message = "The 'checkpoint_dir' parameter of TFSOM must be a path or None. Got "
        with pytest.raises(ValueError, match=re.escape(f"{message}{value!r}")):
            TFSOM(4, checkpoint_dir=value).fit(IRIS)

    @pytest.mark.parametrize("name", ["file", "file/below", "a\0b"])
    def test_directory_that_cannot_be_used(self, tmp_path, name):
        (tmp_path / "file").touch()
        som = TFSOM(4, checkpoint_dir=str(tmp_path / name))
        message = "The 'checkpoint_dir' parameter of TFSOM must be a directory in which files can"
        with pytest.raises(InvalidParameterError, match=message):
            som.fit(IRIS)
        assert not hasattr(som, "codebook_")

    def test_partial_fit_writes_no_checkpoint(self, tmp_path):
        TFSOM(4, checkpoint_dir=tmp_path / "a").partial_fit(IRIS)
        assert not list(tmp_path.iterdir())
