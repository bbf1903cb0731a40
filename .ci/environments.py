"""Environments for the checks in this folder: interpreters, virtual environments, commands."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ("3.11", "3.12", "3.13")
IS_COMPLETE = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


def read_project(folder=ROOT):
    """Return the content of pyproject.toml."""
    return tomllib.loads((folder / "pyproject.toml").read_text())


def find_pythons(commands):
    """Return the first command for each supported version of Python, or None.

    Parameters
    ----------
    commands : list of str
        Commands or paths of interpreters. Each ``python3.11`` and so on of the search path is
        tried as well.
    """
    found = dict.fromkeys(SUPPORTED)
    paths = (
        Path(folder, f"python{version}") for version in SUPPORTED for folder in os.get_exec_path()
    )
    for command in [*commands, *(str(path) for path in paths)]:
        if shutil.which(command) is None:
            continue
        done = subprocess.run([command, "-c", IS_COMPLETE], capture_output=True, text=True)
        version = done.stdout.strip()
        if done.returncode == 0 and version in found and found[version] is None:
            found[version] = command
    return found


def run(*command, **options):
    """Run a command, show it, and raise an error if it fails."""
    print("$", *(str(part) for part in command), flush=True)
    return subprocess.run([str(part) for part in command], check=True, **options)


def run_tests(environment, folder, *arguments, **options):
    """Run the tests in a folder against the installed package.

    `python -m pytest` would import the package in that folder instead, and so would processes that
    tests start with `-c`.
    """
    modules = os.pathsep.join(str(folder / name) for name in ("tests", "benchmarks"))
    variables = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": modules}
    command = [str(part) for part in (environment.bin / "pytest", "-n", "auto", *arguments)]
    return subprocess.run(command, cwd=folder, env=variables, **options)


class Environment:
    """A virtual environment.

    Parameters
    ----------
    folder : Path
        Where it is created.
    python : str
        Interpreter.
    """

    def __init__(self, folder, python):
        run(python, "-m", "venv", folder)
        self.folder = folder
        self.bin = folder / ("Scripts" if (folder / "Scripts").exists() else "bin")
        self.install("--upgrade", "pip>=25.1")

    def install(self, *arguments):
        """Install packages with pip, without bytecode: most modules are never imported."""
        run(self.bin / "python", "-m", "pip", "install", "--quiet", "--no-compile", *arguments)

    def list_versions(self):
        """Return the version of each installed package by its normalized name."""
        command = [self.bin / "python", "-m", "pip", "list", "--format", "freeze"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        pairs = (line.split("==") for line in lines.splitlines() if "==" in line)
        return {normalize(name): version for name, version in pairs}

    def remove(self):
        """Delete the environment."""
        shutil.rmtree(self.folder)


def normalize(name):
    """Return the normalized name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()
