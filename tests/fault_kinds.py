"""Kinds of faults: each function causes some and counts what is left; for `faults.py`."""

import contextlib
import functools
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np
from damaged_checkpoints import ACCEPTED_OR_REFUSED, CASES, DAMAGE, fit_until, make_case
from threadpoolctl import ThreadpoolController

from sklearn_tfsom import TFSOM, InvalidParameterError

NOBODY = 65534


class Counts(NamedTuple):
    """Trials of one kind of fault."""

    n_trials: int
    n_hit: int  # in which the fault met the call, rather than its end
    failures: list


class Skipped(Exception):  # noqa: N818  # no error
    """A kind of fault that this machine cannot cause."""


def get_state(som):
    """Return all attributes as bytes."""
    return {name: pickle.dumps(value) for name, value in vars(som).items()}


def get_results(som):
    """Return the fitted attributes as bytes."""
    names = sorted(set(vars(som)) - set(som.get_params()))
    return {name: pickle.dumps(getattr(som, name)) for name in names}


def fit_case(name, **params):
    """Fit a new map of a case."""
    own, X, weights = make_case(name)
    return TFSOM(**own | params).fit(X, sample_weight=weights)


@functools.cache
def expected_results(name):
    """Return the results of an undisturbed fit of a case."""
    return get_results(fit_case(name))


def count_threads():
    """Return the threads of BLAS, and whether Python has more than the main one."""
    controller = ThreadpoolController().select(user_api="blas")
    return [library.num_threads for library in controller.lib_controllers], len(
        [thread for thread in threading.enumerate() if not thread.daemon]
    )


def end_of_threads(expected, seconds=5.0):
    """Return True once there are no more threads than before; idle ones take a moment to end."""
    end = time.monotonic() + seconds
    while count_threads() != expected and time.monotonic() < end:
        time.sleep(0.01)
    return count_threads() == expected


def run_trials(n_trials, seed, trial):
    """Call a trial repeatedly; it returns True if its fault has met the call."""
    rng, n_hit, failures = np.random.default_rng(seed), 0, []
    for number in range(n_trials):
        try:
            n_hit += bool(trial(number, rng))
        except Skipped:
            raise
        except AssertionError as error:
            failures.append(f"trial {number}: {error}")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = type(error).__name__
            failures.append(f"trial {number}: {kind} in {place.name}: {error}")
    return Counts(n_trials, n_hit, failures)


# Interrupts


class Call(NamedTuple):
    """A call that is interrupted, and what it gives otherwise."""

    case: str
    method: str
    before: dict  # state of the map
    som: TFSOM
    expected: bytes
    seconds: float


def call_method(som, case, method):
    """Call a method with the samples of a case; return what it gives as bytes."""
    _, X, weights = make_case(case)
    if method in ("fit", "partial_fit"):
        return pickle.dumps(get_results(getattr(som, method)(X, sample_weight=weights)))
    return pickle.dumps(getattr(som, method)(X))


@functools.cache
def make_call(case, method, is_fitted):
    params, _, _ = make_case(case)
    som = fit_case(case) if is_fitted else TFSOM(**params)
    again = pickle.loads(pickle.dumps(som))
    call_method(pickle.loads(pickle.dumps(som)), case, method)  # compiles
    start = time.monotonic()
    expected = call_method(again, case, method)
    return Call(case, method, get_state(som), som, expected, time.monotonic() - start)


def interrupt_calls(n_trials, seed, *, error, signal_number):
    """Raise an error by a signal at random moments of a call."""

    def raise_error(*_):
        raise error

    calls = [
        (case, method, is_fitted)
        for case in CASES
        for method, is_fitted in (("fit", False), ("fit", True), ("partial_fit", True))
    ]
    calls += [("dense", method, True) for method in ("predict", "transform")]
    signal.signal(signal_number, raise_error)
    threads = count_threads()

    def trial(number, rng):
        call = make_call(*calls[number % len(calls)])
        som = pickle.loads(pickle.dumps(call.som))
        delay = max(1e-5, call.seconds * rng.uniform(0, 1.2))
        is_interrupted = False
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal_number))
        try:
            timer.start()
            call_method(som, call.case, call.method)
            timer.join()
            time.sleep(0.01)  # for a signal that comes after the call
        except error:
            is_interrupted = True
        timer.join()
        state = get_state(som)
        is_finished = pickle.dumps(get_results(som)) == call.expected
        assert state == call.before or is_finished, f"{call.case}.{call.method} left a part"
        again = pickle.loads(pickle.dumps(call.som))
        found = call_method(again, call.case, call.method)
        assert found == call.expected, f"{call.case}.{call.method} differs afterwards"
        assert end_of_threads(threads), f"{call.case}.{call.method} left threads"
        return is_interrupted and state == call.before

    return run_trials(n_trials, seed, trial)


def interrupt_with_checkpoints(n_trials, seed):
    """Interrupt fits that have checkpoints, and resume them until they end."""

    def raise_interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, raise_interrupt)

    def trial(number, rng):
        case = list(CASES)[number % len(CASES)]
        call = make_call(case, "fit", False)
        with tempfile.TemporaryDirectory() as folder:
            som = TFSOM(**make_case(case)[0] | {"checkpoint_dir": folder})
            n_interrupted = 0
            while n_interrupted < 3:
                before = get_state(som)
                try:
                    delay = max(1e-5, call.seconds * rng.uniform(0.2, 1.2))
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    call_method(som, case, "fit")
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    break
                except KeyboardInterrupt:
                    n_interrupted += 1
                    if get_state(som) != before:
                        break  # it came when the fit had ended
            assert call_method(som, case, "fit") == call.expected, f"{case} differs"
            assert not os.listdir(folder), f"{case} left {os.listdir(folder)}"
            return n_interrupted

    return run_trials(n_trials, seed, trial)


# Killed processes


def write_results(case, folder, path):
    """Fit with checkpoints, and write the results."""
    results = get_results(fit_case(case, checkpoint_dir=folder))
    written = Path(f"{path}.partial")
    written.write_bytes(pickle.dumps(results))
    written.replace(path)


def run_process(*arguments, seconds=None):
    """Fit in a process for at most `seconds`; return True if it had to be killed."""
    process = multiprocessing.get_context("fork").Process(target=write_results, args=arguments)
    process.start()
    process.join(seconds)
    is_killed = process.exitcode is None
    process.kill()
    process.join()
    assert is_killed or process.exitcode == 0, f"exit status {process.exitcode}"
    return is_killed


def kill_processes(n_trials, seed):
    """Kill a fit up to three times, then let it end."""
    expected = {}

    def trial(number, rng):
        case = list(CASES)[number % len(CASES)]
        with tempfile.TemporaryDirectory() as root:
            folder, path = Path(root, "checkpoints"), Path(root, "results")
            if case not in expected:
                start = time.monotonic()
                run_process(case, None, path)
                expected[case] = pickle.loads(path.read_bytes()), time.monotonic() - start
                path.unlink()
            whole, max_seconds = expected[case]
            n_killed = 0
            for _ in range(3):
                n_killed += run_process(
                    case, folder, path, seconds=max_seconds * rng.uniform(0.2, 1) ** 0.5
                )
                if path.exists():
                    break
            if not path.exists():
                run_process(case, folder, path)
            assert pickle.loads(path.read_bytes()) == whole, (
                f"{case} differs after {n_killed} kills"
            )
            left = [] if not folder.exists() else os.listdir(folder)
            assert n_killed or not left, f"{case} left {left}"
            return n_killed

    return run_trials(n_trials, seed, trial)


# Disks


@contextlib.contextmanager
def limited_file_size(n_bytes):
    """Let writes beyond a size fail, as those on a full disk do."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def check_failed_fit(som, case, path, context):
    """Check that a fit raises an OSError in a context, and leaves the map and its file alone.

    Where there was none, the one of the last epoch before the error may be left.
    """
    before, files = get_state(som), read_files(path.parent)
    with context:
        try:
            call_method(som, case, "fit")
        except OSError:
            pass
        else:
            raise AssertionError(f"{case}: no error")
    assert get_state(som) == before, f"{case}: the map has changed"
    left = read_files(path.parent)
    is_right = left == files if files else left.keys() <= {path.name}
    assert is_right, f"{case}: files have changed"


def read_files(folder):
    folder = Path(folder)
    if not folder.is_dir():
        return folder.read_bytes() if folder.exists() else None
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fill_disk(n_trials, seed):
    """Let a disk be full while a checkpoint is written."""

    def trial(number, rng):
        case = list(CASES)[number % len(CASES)]
        with tempfile.TemporaryDirectory() as folder:
            som, path = fit_until(case, folder, after=2)
            size = path.stat().st_size
            if number % 2:
                path.unlink()
            limit = limited_file_size(int(rng.integers(size - 1)))
            check_failed_fit(som, case, path, limit)
            call_method(som, case, "fit")
            assert get_results(som) == expected_results(case), f"{case} differs"
            assert not os.listdir(folder), f"{case} left {os.listdir(folder)}"
        return True

    return run_trials(n_trials, seed, trial)


@contextlib.contextmanager
def without_privileges():
    """Act as a user to whom permissions apply."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(NOBODY)
    except OSError as error:
        raise Skipped(f"root ignores permissions, and cannot be another user: {error}") from None
    try:
        yield
    finally:
        os.seteuid(0)


def refuse_directories(n_trials, seed):
    """Name directories that cannot be written to, or that vanish."""

    def trial(number, rng):
        kind = number % 4
        case = list(CASES)[(number + number // len(CASES)) % len(CASES)]  # others for each kind
        params, X, weights = make_case(case)
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0o755)
            folder = Path(root, "checkpoints")
            context = contextlib.nullcontext()
            if kind == 0:
                folder.write_text("a file")
            elif kind == 1:
                Path(root, "file").write_text("a file")
                folder = Path(root, "file", "checkpoints")
            elif kind == 2:
                folder.mkdir(mode=0o555)
                context = without_privileges()
            else:
                folder.symlink_to(folder)  # a loop
            som = TFSOM(**params | {"checkpoint_dir": folder})
            before = get_state(som)
            try:
                with context:
                    som.fit(X, sample_weight=weights)
            except InvalidParameterError as error:
                assert "'checkpoint_dir'" in str(error), f"{error} does not name the parameter"
                assert "checkpoints" in str(error), f"{error} does not name the directory"
            else:
                raise AssertionError(f"{case}, {kind}: no error")
            assert get_state(som) == before, "the map has changed"
            som.set_params(checkpoint_dir=None).fit(X, sample_weight=weights)
            assert get_results(som) == expected_results(case), f"{case} differs"
        return True

    return run_trials(n_trials, seed, trial)


def remove_directory(n_trials, seed):
    """Remove the directory of the checkpoints while a map is fitted."""

    def trial(number, rng):
        case = list(CASES)[number % len(CASES)]
        call = make_call(case, "fit", False)
        folder = tempfile.mkdtemp()
        som = TFSOM(**make_case(case)[0] | {"checkpoint_dir": folder})
        before, is_hit = get_state(som), False
        delay = call.seconds * rng.uniform(0, 1.5)
        timer = threading.Timer(delay, shutil.rmtree, (folder,), {"ignore_errors": True})
        timer.start()
        try:
            found = call_method(som, case, "fit")
            assert found == call.expected, f"{case} differs"
        except OSError as error:
            is_hit = True
            assert folder in str(error), f"{error} does not name the directory"
            assert get_state(som) == before, "the map has changed"
        timer.join()
        shutil.rmtree(folder, ignore_errors=True)
        return is_hit

    return run_trials(n_trials, seed, trial)


# Damaged checkpoints


def damage_checkpoints(n_trials, seed):
    """Damage checkpoints: each must be refused by name, and leave the map as it was."""
    cases, kinds = list(CASES), list(DAMAGE)

    def trial(number, rng):
        # All kinds in turn, of another case each time.
        damage = kinds[number % len(kinds)]
        case = cases[(number + number // len(kinds)) % len(cases)]
        with tempfile.TemporaryDirectory() as folder:
            som, path = fit_until(case, folder, after=int(rng.integers(1, 4)))
            content = DAMAGE[damage](path, case, rng)
            path.write_bytes(content)
            before, (_, X, weights) = get_state(som), make_case(case)
            try:
                som.fit(X, sample_weight=weights)
            except ValueError as error:
                message = str(error)
                assert str(path) in message, f"{case}, {damage}: {message} names no file"
                assert len(message.splitlines()) == 1, f"{case}, {damage}: {message}"
                assert get_state(som) == before, f"{case}, {damage}: the map has changed"
                assert read_files(folder) == {path.name: content}, f"{case}, {damage}: files"
                path.unlink()
                som.fit(X, sample_weight=weights)
            except Exception as error:
                raise AssertionError(
                    f"{case}, {damage}: {type(error).__name__}: {error}"
                ) from None
            else:
                assert damage in ACCEPTED_OR_REFUSED, f"{case}, {damage}: accepted"
            assert get_results(som) == expected_results(case), f"{case}, {damage}: differs"
        return True

    return run_trials(n_trials, seed, trial)
