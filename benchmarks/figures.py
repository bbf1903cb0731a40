"""Figures that the documentation states, taken from the results in JSON and from the package.

`python benchmarks/figures.py` writes the present figures into the texts, and with `--check` only
lists those that differ. A figure has a name in the text:

- in Markdown it is followed by a comment, `0.87<!--ari-som-->`;
- in reStructuredText it is a substitution, `|ari-som|`. The script writes the definitions to the
  end of the file.

A new figure is a line in one of the functions below, one for each file that texts cite, and one
for the package.
"""

import argparse
import math
import re
from pathlib import Path
from statistics import geometric_mean, mean

from render import RESULTS
from render import load_results as load_any_results

from sklearn_tfsom import displays

ROOT = Path(__file__).resolve().parent.parent
IN_MARKDOWN = re.compile(r"(?P<value>[-+]?\d[\d,]*(?:\.\d+)?)<!--(?P<name>[\w-]+)-->")
IN_RST = re.compile(r"(?<![\\\w|])\|(?P<name>[a-z0-9]+(?:-[a-z0-9]+)+)\|")
HEADER = ".. Figures of benchmarks/results, written by benchmarks/figures.py\n"


def load_results(name):
    """Return the results of a file of a full run, of a commit."""
    results = load_any_results(name)
    machine = results["machine"]
    if "--short" in machine.get("arguments", ()) or machine["commit"].endswith("-dirty"):
        raise ValueError(f"{name}.json is of a short run, or of a tree with changes: {machine}.")
    return results


def column(rows, name):
    """Return a column of a table."""
    return [row[name] for row in rows]


def find(rows, **values):
    """Return the only row with these values; "_" in a name stands for " "."""
    wanted = {name.replace("_", " "): value for name, value in values.items()}
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


def begins(rows, start, name="data"):
    """Return the only row whose column `name` begins with `start`."""
    (row,) = [row for row in rows if row[name].startswith(start)]
    return row


def most(values):
    """Return the largest of some values with one decimal, rounded up."""
    return f"{math.ceil(10 * max(values)) / 10:.1f}"


def short(value):
    """Return a number with two digits, and without decimals from 10 on."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def negative(value):
    """Return the size of a negative number, for texts that say "lower"."""
    if value >= 0:
        raise ValueError(f"A text says that {value} is lower: correct the text.")
    return -value


def anomaly():
    """Figures of anomaly.json: mean over the sets that were not developed on, and the others."""
    tables = load_results("anomaly")["tables"]
    modes = {
        "mixed": "Anomalies among the training samples",
        "normal": "Trained on normal samples",
    }
    measures = {"auc": "area under the ROC curve", "ap": "average precision"}
    models = {
        "isolation": "TFSOM",
        "height": "TFSOM, u_height",
        "distance": "TFSOM, distance",
        "forest": "IsolationForest",
        "lof": "LocalOutlierFactor",
    }
    found = {}
    for mode, mode_name in modes.items():
        for measure, measure_name in measures.items():
            rows = tables[f"{mode_name}: {measure_name}"]
            for model, name in models.items():
                key = f"{measure}-{model}-{mode}"
                found[key] = f"{begins(rows, 'mean of these, held back')[name]:.3f}"
                chosen = begins(rows, "mean of these (digits count as one)")[name]
                found[f"{key}-chosen"] = f"{chosen:.3f}"
    return found


def clustering():
    """Figures of clustering.json: mean over the sets that were held back, and of the others."""
    rows = load_results("clustering")["tables"][""]
    models = {
        "som": "TFSOM",
        "kmeans": "KMeans",
        "ward": "Ward",
        "spectral": "SpectralClustering",
        "hdbscan": "HDBSCAN",
        "auto": "TFSOM, auto",
    }
    chosen, held_back = (row for row in rows if row["data"].startswith("mean of "))
    found = {}
    for suffix, row in (("", held_back), ("-chosen", chosen)):
        found[f"cluster-sets{suffix}"] = row["data"].split()[2]
        found |= {f"ari-{key}{suffix}": f"{row[name]:.2f}" for key, name in models.items()}
        right, all_draws = re.findall(r"\d+", row["clusters, auto"])
        found |= {f"auto-right{suffix}": right, f"auto-draws{suffix}": all_draws}
    seconds = [row["time of TFSOM (s)"] for row in rows if not row["data"].startswith("mean")]
    return found | {"cluster-seconds": most(seconds)}


def engines():
    """Figures of engines.json."""
    rows = next(iter(load_results("engines")["tables"].values()))
    ratios = {f"{row['engine'].lower()}-ratio": short(row["ratio"]) for row in rows[1:]}
    return {**ratios, "engine-megabytes": f"{max(column(rows, 'moved (MB)')):.0f}"}


def extremes():
    """Figures of extremes.json."""
    tables = load_results("extremes")["tables"]
    memory = next(rows for name, rows in tables.items() if name.startswith("Memory"))
    som, kmeans = find(memory, model="TFSOM"), find(memory, model="KMeans")
    large = find(next(rows for name, rows in tables.items() if "Large" in name), map="200 x 200")
    return {
        "large-map-ratio": short(
            large["epoch of a trained map (ms)"] / large["k-means iteration (ms)"]
        ),
        "fit-memory-ratio": short(som["second fit / data"]),
        "kmeans-memory-ratio": short(kmeans["second fit / data"]),
        "first-fit-memory": f"{som['first fit (MiB)'] - som['second fit (MiB)']:.0f}",
    }


def first_fits():
    """Figures of first_fits.json."""
    results = load_results("first_fits")
    rows = results["tables"][""]
    found = {}
    shapes = {"digits": "(1797", "large": "(300000", "million": "(1000000", "wide": "(20000 x 784"}
    for key, shape in shapes.items():
        (row,) = [row for row in rows if shape in row["data"]]
        for suffix, name in (("", ""), ("-kmeans", "k-means, "), ("-fastersom", "fastersom, ")):
            seconds = row[f"{name}whole script (s)"]
            if seconds != "-":
                found[f"script-{key}{suffix}"] = short(seconds)
    extra = "first fit - later fit (s)"
    errors = [row["QE"] / row["fastersom, QE"] for row in rows]
    (imports,) = re.findall(r"that of TensorFlow takes ([\d.]+) s", " ".join(results["notes"]))
    return {
        **found,
        "first-fit-extra": short(max(column(rows, extra))),
        "tensorflow-import": imports,
        "first-fit-qe-least": f"{min(errors):.2f}",
        "first-fit-qe-most": f"{max(errors):.2f}",
    }


def folds():
    """Figures of folds.json: the sets that were held back."""
    row = load_results("folds")["tables"][""][-1]
    good, n_versions = row["as good in both"].split(" of ")
    return {
        "fold-sets": row["data"].split()[0],
        "fold-qe": f"{row['QE ratio']:.2f}",
        "fold-te": f"{negative(row['TE difference']):.3f}",
        "fold-good": good,
        "fold-versions": n_versions,
    }


def imputation():
    """Figures of imputation.json: errors relative to those of the mean."""
    rows = load_results("imputation")["tables"][""]
    models = {"som": "TFSOM", "knn": "KNNImputer", "iterative": "IterativeImputer"}
    relative = "RMSE / RMSE of the mean"
    found = {}
    for key, name in models.items():
        of_model = [row for row in rows if row["method"] == name]
        for data in ("iris", "wine", "breast cancer", "digits"):
            value = begins(of_model, data)[relative]
            found[f"rmse-{data.split()[0]}-{key}"] = f"{value:.2f}"
        found[f"rmse-least-{key}"] = f"{min(column(of_model, relative)):.2f}"
        found[f"rmse-most-{key}"] = f"{max(column(of_model, relative)):.2f}"
    return found


def installation():
    """Figures of installation.json."""
    rows = load_results("installation")["tables"][""]
    return {
        f"{key}-{name}": f"{row[f'{column_name} (MB)']:,.0f}"
        for key, row in zip(("install", "cpu", "numpy"), rows, strict=True)
        for name, column_name in (("download", "download"), ("disk", "on disk"))
    }


def libraries():
    """Figures of libraries.json."""
    tables = load_results("libraries")["tables"]
    rows, differences = tables.values()
    tasks = {"small": "50000 x 64", "large": "300000 x 64", "wide": "50000 x 32"}
    found, speedups, measured = {}, [], set()
    for key, task in tasks.items():
        of_task = [row for row in rows if row["samples x features, map"].startswith(task)]
        seconds = {row["library"]: row["fit (s)"] for row in of_task}
        measured.add(frozenset(seconds))
        if len(measured) > 1:
            raise ValueError(f"Not all libraries have trained all tasks: {measured}.")
        coarse, full = seconds.pop("TFSOM, coarse to fine"), seconds.pop("TFSOM")
        speedups.append(min(seconds.values()) / coarse)
        found |= {f"coarse-{key}": f"{coarse:.2f}", f"full-{key}": f"{full:.2f}"}
        found |= {f"{name.lower()}-{key}": short(s / full) for name, s in seconds.items()}
    same = [row for row in differences if row["library"] in ("TFSOM", "fastersom", "XPySom")]
    if len({row["samples x features, map"] for row in same}) < len(tasks):
        raise ValueError("TFSOM has trained a task only once.")
    qe, te = "quantization error (%)", "topographic error"
    return {
        **found,
        "library-speedup": short(geometric_mean(speedups)),
        "coarse-sets": str(same[0]["data sets"]),
        "coarse-qe-percent": f"{max(abs(float(row[qe])) for row in same):.2f}",
        "coarse-te": f"{max(abs(float(row[te])) for row in same):.4f}",
    }


def package():
    """Figures of the package itself."""
    return {"displays": f"{len(displays.__all__)}"}


def quality():
    """Figures of quality.json."""
    tables = load_results("quality")["tables"]
    both = find(tables["SOM Toolbox: summary"], start_of_TFSOM="mean of both")
    good, n_sets = both["neither higher"].split(" of ")
    found = {
        "toolbox-qe": f"{both['QE ratio, geometric mean']:.2f}",
        "toolbox-good": good,
        "toolbox-sets": n_sets,
    }
    for data in ("iris", "wine", "breast cancer", "digits"):
        row = begins(tables["k-means with as many centers as units"], data)
        key = f"qe-{data.split()[0]}"
        rows, columns = map(int, row["map"].split(" x "))
        found |= {
            f"{key}-units": str(rows * columns),
            f"{key}-kmeans": f"{row['QE, k-means']:.3g}",
            f"{key}-som": f"{row['QE']:.3g}",
            f"{key}-ratio": f"{row['QE ratio']:.1f}",
        }
    return found


def serving():
    """Figures of serving.json: all outputs."""
    tables = load_results("serving")["tables"]
    rows = tables["Euclidean distances, all outputs"]
    in_blocks = tables["Manhattan distances, all outputs"]
    own, keras = find(rows, model="transform and predict"), find(rows, model="Keras")
    exported = [row for row in rows if row not in (own, keras)]
    one, many, memory = "1 (ms)", "10,000 (ms)", "memory (MiB)"
    of_blocks = [row[memory] for row in in_blocks if row["model"] != own["model"]]
    return {
        "transform-ms": f"{own[many]:.0f}",
        **{
            f"export-{name}-{size}": format(size_of(column(exported, key)), digits)
            for name, key, digits in (("ms", many, ".0f"), ("mib", memory, ".0f"))
            for size, size_of in (("least", min), ("most", max))
        },
        "export-one-least": f"{min(column(exported, one)):.2f}",
        "export-one-most": f"{max(column(exported, one)):.1f}",
        "keras-ms": f"{keras[many]:.0f}",
        "keras-mib": f"{keras[memory]:.0f}",
        "keras-one": f"{keras[one]:.0f}",
        "blocks-mib-least": f"{min(of_blocks):.0f}",
        "blocks-mib-most": f"{max(of_blocks):.0f}",
    }


def sparse():
    """Figures of sparse.json: memory of fits of the texts."""
    rows = load_results("sparse")["tables"]["Memory in addition to the data"]
    of_texts = [row for row in rows if row["data"] == "text" and row["units"] == 400]
    som, cosine = (find(of_texts, model=f"TFSOM, {m}") for m in ("euclidean", "cosine"))
    return {
        "sparse-features": f"{int(som['samples x features'].split()[2]):,}",
        "sparse-codebook": f"{som['codebook (MiB)']:.0f}",
        "sparse-memory": f"{som['memory of the fit (MiB)']:.0f}",
        "sparse-memory-cosine": f"{cosine['memory of the fit (MiB)']:.0f}",
    }


def durations():
    """Figures of all files: the minutes that a run took, rounded up."""
    names = [path.stem for path in sorted(RESULTS.glob("*.json"))]
    seconds = {name: load_results(name)["machine"]["seconds"] for name in names}
    return {f"minutes-{name}": f"{math.ceil(value / 60)}" for name, value in seconds.items()}


def speed():
    """Figures of speed.json: ratios to k-means, geometric means."""
    tables = load_results("speed")["tables"]
    rows, small = tables["Epoch, predict and transform"], tables["Epochs of usual sizes"]
    epochs, small_epochs = column(rows, "epoch / iteration"), column(small, "epoch / iteration")
    return {
        "epoch-ratio": f"{geometric_mean(epochs):.2f}",
        "epoch-ratio-least": f"{min(epochs):.2f}",
        "epoch-ratio-most": f"{max(epochs):.2f}",
        "default-epoch-ratio": f"{geometric_mean(column(rows, 'default epoch / iteration')):.2f}",
        "predict-ratio": f"{geometric_mean(column(rows, 'predict / k-means')):.2f}",
        "transform-ratio": f"{geometric_mean(column(rows, 'transform / k-means')):.2f}",
        "small-epoch-ratio": f"{geometric_mean(small_epochs):.2f}",
        "small-epoch-ratio-least": f"{min(small_epochs):.2f}",
        "small-epoch-ratio-most": f"{max(small_epochs):.1f}",
    }


def streams():
    """Figures of streams.json: means over the data sets."""
    passes, batches, memory = load_results("streams")["tables"].values()
    found = {}
    for key, rows in (("stream", passes), ("minibatch", batches)):
        found[f"{key}-qe"] = f"{geometric_mean(column(rows, 'QE ratio, map')):.3f}"
        found[f"{key}-te"] = f"{mean(column(rows, 'TE difference')):+.3f}"
        found[f"{key}-time"] = short(geometric_mean(column(rows, "time ratio")))
        found[f"{key}-sets"] = str(len(rows))
    large = [row for row in batches if int(re.search(r"\((\d+) x", row["data"])[1]) >= 10_000]
    mapped = [row for row in memory if row["model"] == "TFSOM" and row["data in"] == "memory map"]
    largest = max(mapped, key=lambda row: row["data (MiB)"])
    return found | {
        "minibatch-large-sets": str(len(large)),
        "minibatch-large-te": most(
            row["TE, mini-batches"] / (row["TE, mini-batches"] - row["TE difference"])
            for row in large
        ),
        "minibatch-large-time": most(
            row["mini-batches (s)"] / row["full batch (s)"] for row in large
        ),
        "memmap-data": f"{largest['data (MiB)']:.0f}",
        "memmap-memory": f"{largest['anonymous memory (MiB)']:.0f}",
    }


def usefulness():
    """Figures of usefulness.json."""
    rows = load_results("usefulness")["tables"][""]
    accuracy = {
        model: column(
            [row for row in rows if row["model"] == model], "accuracy of distance features"
        )
        for model in ("TFSOM", "KMeans")
    }
    gains = [a - b for a, b in zip(*accuracy.values(), strict=True)]
    som, kmeans = (
        begins([row for row in rows if row["model"] == model], "iris")["fit (ms)"]
        for model in accuracy
    )
    return {
        "feature-sets": str(len(gains)),
        "feature-gain-least": f"{min(gains):+.3f}",
        "feature-gain-most": f"{max(gains):+.3f}",
        "iris-ms": f"{som:.0f}",
        "iris-ms-kmeans": f"{kmeans:.0f}",
    }


def workers():
    """Figures of workers.json."""
    times, constants, model = load_results("workers")["tables"].values()
    values = {row["constant"]: row["value"] for row in constants}
    hundred = find(model, machines=100)
    return {
        "worker-epoch": short(find(times, measure="epoch")["speed-up"]),
        "worker-fit": short(find(times, measure="fit")["speed-up"]),
        "exchange-megabytes": f"{values['bytes exchanged per epoch'] / 1e6:.2f}",
        "row-microseconds": f"{values['compute per sample and core (µs)']:.2f}",
        "deviation-percent": f"{100 * values['relative deviation of compute times']:.0f}",
        "model-compute": f"{hundred['compute (s)']:.1f}",
        "model-wait": f"{hundred['wait for the slowest (s)']:.1f}",
        "model-exchange": f"{hundred['exchange (s)']:.2f}",
        "model-epoch": f"{hundred['epoch (s)']:.1f}",
        "model-minutes": f"{hundred['20 epochs (min)']:.1f}",
        "model-gigabytes": f"{hundred['data per machine (GB)']:.0f}",
    }


SOURCES = (
    anomaly,
    clustering,
    durations,
    engines,
    extremes,
    first_fits,
    folds,
    imputation,
    installation,
    libraries,
    package,
    quality,
    serving,
    sparse,
    speed,
    streams,
    usefulness,
    workers,
)


def collect_figures():
    """Return the text of each figure by its name."""
    figures = {}
    for source in SOURCES:
        new = source()
        if repeated := figures.keys() & new.keys():
            raise ValueError(f"Two sources have the same figures: {sorted(repeated)}.")
        figures |= new
    return figures


def list_texts():
    """Return the paths of the texts that state figures."""
    docs = ROOT / "docs"
    return [
        ROOT / "README.md",
        ROOT / "benchmarks" / "README.md",
        *sorted([*docs.glob("*.md"), *docs.glob("[!_]*.rst"), *docs.glob("guide/*.rst")]),
    ]


def update_markdown(text, figures):
    """Return a text in Markdown with the present figures."""
    return IN_MARKDOWN.sub(lambda match: f"{figures[match['name']]}<!--{match['name']}-->", text)


def update_rst(text, figures):
    """Return a text in reStructuredText that ends with the definitions of its figures."""
    body = text.split(HEADER)[0]
    names = sorted({match["name"] for match in IN_RST.finditer(body)})
    if not names:
        return body
    definitions = "".join(f".. |{name}| replace:: {figures[name]}\n" for name in names)
    return f"{body.rstrip()}\n\n{HEADER}\n{definitions}"


def update(path, figures):
    """Return the text of a file with the present figures."""
    function = update_markdown if path.suffix == ".md" else update_rst
    return function(path.read_text(), figures)


def main():
    """Write the figures, or list the files in which they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if texts differ")
    is_check = parser.parse_args().check
    figures = collect_figures()
    stale = []
    for path in list_texts():
        text = update(path, figures)
        if text != path.read_text():
            stale.append(str(path.relative_to(ROOT)))
            if not is_check:
                path.write_text(text)
    print("\n".join([f"{'Differ' if is_check else 'Written'}: {name}" for name in stale]))
    raise SystemExit(bool(stale) and is_check)


if __name__ == "__main__":
    main()
