"""Download and space on disk of an installation, in new environments of this Python.

It installs packages with pip, which downloads what its cache lacks.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

from common import parse_arguments, save_results

ROOT = Path(__file__).resolve().parent.parent
# What is installed beside the package without its dependencies, or None: with all of them.
CASES = {
    "sklearn-tfsom": None,
    "sklearn-tfsom, tensorflow-cpu": ["tensorflow-cpu"],
    "sklearn-tfsom, no TensorFlow": [],
}
N_MEGABYTE = 10**6
# Fits a map in NumPy and, unless TensorFlow is absent, exports it.
SCRIPT = """
import sys
from sklearn.datasets import load_iris
from sklearn_tfsom import TFSOM
X = load_iris().data
som = TFSOM().fit(X)
assert "tensorflow" not in sys.modules
if sys.argv[1] == "True":
    som.to_keras()(X[:3])
"""


def list_dependencies():
    """Return the declared dependencies, without TensorFlow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [line for line in project["dependencies"] if not line.startswith("tensorflow")]


def measure_size(folder):
    """Return the size of all files in a folder, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / N_MEGABYTE


def measure_download(requirements, folder):
    """Return the size of the wheels that pip would download, in MB."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder, *requirements],
        check=True,
    )
    return measure_size(Path(folder))


def measure(extra, folder):
    """Install the package and return a row.

    Parameters
    ----------
    extra : list of str or None
        Packages installed in place of TensorFlow; None installs the declared dependencies.
    folder : Path
        Where the environment and the wheels are stored.
    """
    environment, wheels = folder / "environment", folder / "wheels"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / ("Scripts" if (environment / "Scripts").exists() else "bin") / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    before = measure_size(Path(site))
    pip = [python, "-m", "pip", "install", "--quiet"]
    if extra is None:
        requirements = [str(ROOT)]
        subprocess.run([*pip, ROOT], check=True)
    else:
        requirements = [*list_dependencies(), *extra]
        subprocess.run([*pip, *requirements], check=True)
        subprocess.run([*pip, "--no-deps", ROOT], check=True)
    has_tensorflow = extra != []
    subprocess.run([python, "-W", "ignore", "-c", SCRIPT, str(has_tensorflow)], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    versions = {row["name"]: row["version"] for row in json.loads(listed)}
    return {
        "packages": len(versions) - 2,  # without pip and setuptools
        "TensorFlow": next((v for n, v in versions.items() if n.startswith("tensorflow")), ""),
        "download (MB)": measure_download(requirements, wheels),
        "on disk (MB)": measure_size(Path(site)) - before,
    }


def main():
    """Install all cases."""
    parse_arguments(__doc__)
    rows = []
    for name, extra in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows.append({"installed": name, **measure(extra, Path(folder))})
    save_results(
        "installation",
        {"": rows},
        [
            "Each row is a new environment. Download: the wheels of the package and of all its "
            "dependencies. On disk: the growth of site-packages, with the bytecode that pip "
            f"compiles. 1 MB is {N_MEGABYTE:,} bytes.",
            "After the installation a map is fitted in NumPy and, if TensorFlow is installed, "
            "exported to Keras.",
            f"pip {version('pip')}. The packages are the newest that pip finds on the date above.",
        ],
    )


if __name__ == "__main__":
    main()
