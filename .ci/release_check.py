"""Build a release from the last commit, and check all that can be checked without a release.

Nothing is uploaded. The files are left in output/release/dist.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import yaml
from environments import ROOT, Environment, find_pythons, read_project, run, run_tests

PACKAGE = "sklearn_tfsom"
OUTPUT = ROOT / "output" / "release"


class Checks:
    """Results of the checks, printed as they come.

    Attributes
    ----------
    failed : list of str
    missing : list of str
        What could not be checked on this machine.
    """

    def __init__(self):
        self.failed, self.missing = [], []

    def check(self, name, problem=""):
        """Record a check, which has failed if there is a problem."""
        result = f"FAILED: {problem}" if problem else "ok"
        print(f"{name}: {result}", flush=True)
        if problem:
            self.failed.append(name)

    def attempt(self, name, function, *arguments):
        """Record whether a command fails, and return what the function returns."""
        try:
            result = function(*arguments)
        except subprocess.CalledProcessError as error:
            self.check(name, str(error))
            return None
        self.check(name)
        return result


def clone(folder):
    """Clone the last commit, so that no file of the work tree gets into the release."""
    run("git", "clone", "--quiet", ROOT, folder)


def read_versions(folder):
    """Return the version that each file states."""
    patterns = {
        f"{PACKAGE}/_version.py": r'__version__ = "(.+)"',
        "CHANGELOG.md": r"## (\S+)",
        "CITATION.cff": r"(?m)^version: (\S+)",
        "docs/citing.rst": r"version = \{(.+)\}",
        ".ci/recipe/recipe.yaml": r'(?m)^  version: "(.+)"',
    }
    texts = {name: (folder / name).read_text() for name in patterns}
    return {
        name: found[1] if (found := re.search(pattern, texts[name])) else None
        for name, pattern in patterns.items()
    }


def check_versions(checks, folder):
    """Check that all files state the same version; return it."""
    versions = read_versions(folder)
    is_same = len(set(versions.values())) == 1
    checks.check("files state one version", "" if is_same else str(versions))
    return versions[f"{PACKAGE}/_version.py"]


def check_citation(checks, folder):
    """Check CITATION.cff with cffconvert, or its required keys where that is not installed."""
    path = folder / "CITATION.cff"
    # In the environment of this script, which need not be activated.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if cffconvert := shutil.which("cffconvert", path=places):
        command = [cffconvert, "--validate", "--infile", path]
        checks.attempt("CITATION.cff is valid (cffconvert)", run, *command)
        return
    checks.missing.append("cffconvert: only the required keys of CITATION.cff are checked")
    content = yaml.safe_load(path.read_text())
    problems = {"cff-version", "message", "title", "authors"} - content.keys()
    for reference in content.get("references", []):
        problems |= {"type", "title", "authors"} - reference.keys()
    checks.check("CITATION.cff has its required keys", ", ".join(sorted(problems)))


def check_sdist(checks, path, tracked):
    """Check that the sdist has the files that git tracks, and no other."""
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    names -= {"PKG-INFO"}
    missing, further = sorted(tracked - names), sorted(names - tracked)
    problem = f"missing {missing}, not tracked {further}" if missing or further else ""
    checks.check("sdist has the tracked files", problem)


def check_wheel(checks, path, tracked):
    """Check that the wheel has the package, its marker of types and the license, and no more."""
    names = set(zipfile.ZipFile(path).namelist())
    expected = {name for name in tracked if name.startswith(f"{PACKAGE}/")}
    metadata = {name for name in names if ".dist-info/" in name}
    problems = [f"missing {name}" for name in sorted(expected - names)]
    problems += [f"not of the package: {name}" for name in sorted(names - expected - metadata)]
    if f"{PACKAGE}/py.typed" not in names:
        problems.append("no py.typed")
    if not any(name.endswith("/licenses/LICENSE") for name in metadata):
        problems.append("no license")
    checks.check("wheel has the package, py.typed and the license", "; ".join(problems))


def try_wheel(python, version, unpacked, *, has_tests):
    """Install the wheel in a new environment, and run the demo and the tests of the sdist."""
    environment = Environment(OUTPUT / "environment", python)
    try:
        links = ["--find-links", OUTPUT / "dist"]
        name = read_project(unpacked)["project"]["name"]
        environment.install("--no-index", "--no-deps", *links, f"{name}=={version}")
        environment.install(*links, f"{name}[plot]=={version}")
        run(environment.bin / "python", "-m", "pip", "check")
        run(environment.bin / "python", "examples/digits_demo.py", cwd=unpacked)
        if has_tests:
            environment.install("--group", f"{unpacked / 'pyproject.toml'}:test")
            run_tests(environment, unpacked, "-q", "tests", check=True)
    finally:
        environment.remove()


def list_steps(version, source, sdist):
    """Return what a maintainer has to do: edits as long as any are left, then the release.

    Files that are built before an edit are not those of the tag.
    """
    edits = []
    changelog = (source / "CHANGELOG.md").read_text()
    if "(unreleased)" in changelog.split("\n## ")[1].split("\n")[0]:
        edits.append(f'replace "(unreleased)" by the date of {version} in CHANGELOG.md')
    if "](docs/" in (source / "README.md").read_text():
        edits.append("make the links and the image of README.md absolute")
    texts = ("README.md", "docs/index.rst", "docs/installation.rst")
    cloning = [name for name in texts if "from a clone" in (source / name).read_text().lower()]
    if cloning:
        edits.append(f"install from the index instead of a clone in {', '.join(cloning)}")
    urls = read_project(source)["project"]["urls"]
    missing = [name for name in ("Source", "Issues") if name not in urls]
    if missing:
        edits.append(f"add {' and '.join(missing)} to [project.urls] of pyproject.toml")
    if "repository-code:" not in (source / "CITATION.cff").read_text():
        edits.append("add repository-code to CITATION.cff")
    if edits:
        return [*edits, "commit, and run make release-check again: it names the further steps"]
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    return [
        f"git tag -a v{version} -m v{version}, and push the tag",
        f"upload the files of {sdist.parent.relative_to(ROOT)} with twine",
        f"for a conda package, complete .ci/recipe/recipe.yaml (sha256 {digest})",
        "activate the version of the tag in the documentation's hosting",
    ]


def main():
    """Run all checks, and print what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", action="store_true", help="run the tests of the sdist as well")
    parser.add_argument("--python", action="append", default=[], help="an interpreter to try")
    arguments = parser.parse_args()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    checks, source, dist = Checks(), OUTPUT / "source", OUTPUT / "dist"
    clone(source)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=source, capture_output=True, text=True, check=True
    )
    tracked = set(listed.stdout.splitlines())
    version = check_versions(checks, source)
    check_citation(checks, source)
    run(sys.executable, "-m", "build", "--outdir", dist, source)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    checks.attempt(
        "metadata", run, sys.executable, "-m", "twine", "check", "--strict", sdist, wheel
    )
    check_sdist(checks, sdist, tracked)
    check_wheel(checks, wheel, tracked)
    with tarfile.open(sdist) as archive:
        archive.extractall(OUTPUT, filter="data")
    unpacked = OUTPUT / sdist.name.removesuffix(".tar.gz")
    for supported, python in find_pythons([*arguments.python, sys.executable]).items():
        if python is None:
            checks.missing.append(f"Python {supported}: not on this machine")
            continue
        name = f"Python {supported}: wheel and demo{' and tests' if arguments.tests else ''}"
        checks.attempt(
            name,
            lambda python=python: try_wheel(python, version, unpacked, has_tests=arguments.tests),
        )
    steps = list_steps(version, source, sdist)
    for title, lines in (
        ("Not checked", checks.missing),
        ("Failed", checks.failed),
        ("To do for the release", steps),
    ):
        print(f"\n{title}:", *(lines or ["nothing"]), sep="\n- ")
    raise SystemExit(bool(checks.failed))


if __name__ == "__main__":
    main()
