"""Run tests with each Python, and the oldest and the newest versions of all libraries.

The oldest versions are the lower bounds in pyproject.toml. The tests run from the wheel.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from environments import (
    ROOT,
    Environment,
    find_pythons,
    normalize,
    read_project,
    run,
    run_tests,
)

OUTPUT = ROOT / "output" / "matrix"
EXTRAS = ("plot", "viewer", "litert", "onnx", "dask")
# First versions with wheels for a newer Python than that of the lower bound, and those that work
# with them: polars 1.0 crashes beside NumPy 2.
FIRST_WHEELS = {
    "3.12": {},
    "3.13": {"numpy": "2.1", "h5py": "3.12", "pyarrow": "18.0", "polars": "1.1"},
}
SHOWN = ("scikit-learn", "numpy", "scipy", "pandas", "tensorflow")
BOUND = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)$")


def list_lower_bounds():
    """Return the lower bound of each library that the tests need, by its normalized name."""
    project = read_project()
    requirements = [
        *project["project"]["dependencies"],
        *(line for name in EXTRAS for line in project["project"]["optional-dependencies"][name]),
        *project["dependency-groups"]["test"],
    ]
    bounds = {}
    for requirement in requirements:
        found = BOUND.match(requirement)
        if found is None:
            raise ValueError(f"{requirement!r} in pyproject.toml has no single lower bound.")
        name = normalize(found[1])
        if bounds.setdefault(name, found[2]) != found[2]:
            raise ValueError(f"{name} has two lower bounds in pyproject.toml.")
    return bounds


def write_constraints(python_version):
    """Write the oldest versions for a Python as constraints of pip; return the path."""
    bounds = list_lower_bounds() | FIRST_WHEELS.get(python_version, {})
    path = OUTPUT / f"oldest-{python_version}.txt"
    path.write_text("".join(f"{name}=={version}.*\n" for name, version in bounds.items()))
    return path


def try_versions(python, python_version, age, wheel, tests):
    """Install the wheel and run tests; return a row of the table."""
    folder = OUTPUT / f"{python_version}-{age}"
    constraints = ["--constraint", write_constraints(python_version)] if age == "oldest" else []
    versions, result = {}, "does not install"
    try:
        environment = Environment(folder, python)
        environment.install(
            "--only-binary=:all:",
            *constraints,
            f"{wheel}[{','.join(EXTRAS)}]",
            "--group",
            f"{ROOT / 'pyproject.toml'}:test",
        )
        versions = environment.list_versions()
        arguments = ["--dist", "worksteal", *tests]
        if age == "oldest":  # old libraries use what newer ones have deprecated
            arguments += ["-W", "ignore::DeprecationWarning"]
        done = run_tests(environment, ROOT, *arguments, stdout=subprocess.PIPE, text=True)
        print(done.stdout)
        result = (done.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
        if done.returncode:
            result += f", exit status {done.returncode}"
    except subprocess.CalledProcessError as error:
        print(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return (python_version, age, *(versions.get(name, "") for name in SHOWN), result)


def print_table(rows):
    """Print rows in columns."""
    header = ("Python", "libraries", *SHOWN, "result")
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    for row in [header, *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).strip()
        )


def main():
    """Run the tests of the command line, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", default=[], help="an interpreter to try")
    parser.add_argument("--only", metavar="VERSION", action="append", help="such as 3.11")
    parser.add_argument("--age", choices=("oldest", "newest"), action="append")
    parser.add_argument("tests", nargs="*", default=["tests"], help="files; by default all")
    arguments = parser.parse_args()
    shutil.rmtree(OUTPUT, ignore_errors=True)  # a wheel of another version
    OUTPUT.mkdir(parents=True)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", OUTPUT, ROOT)
    (wheel,) = Path(OUTPUT).glob("*.whl")
    rows = []
    for version, python in find_pythons(arguments.python).items():
        if arguments.only and version not in arguments.only:
            continue
        if python is None:
            rows.append((version, "", *("" for _ in SHOWN), "not on this machine"))
            continue
        for age in arguments.age or ("oldest", "newest"):
            rows.append(try_versions(python, version, age, wheel, arguments.tests))
    print_table(rows)
    is_good = [
        "passed" in row[-1] and "exit status" not in row[-1]
        for row in rows
        if row[1]  # a Python that is not on this machine has no libraries
    ]
    raise SystemExit(not (is_good and all(is_good)))


if __name__ == "__main__":
    main()
