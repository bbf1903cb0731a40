"""Exported models: time and memory of batches, in each format, in a process of its own."""

import functools
import os
import tempfile

import numpy as np
from common import (
    import_tensorflow,
    make_curved_data,
    measure_peak_memory,
    parse_arguments,
    run_in_new_process,
    save_results,
    time_call,
    time_warm_call,
)

from sklearn_tfsom import TFSOM

N_SAMPLES, N_FEATURES, GRID_SIZE, N_CLUSTERS = 10_000, 64, 20, 5
BATCH_SIZES = (1, 10, 100, 1000, 10_000)
SECONDS = 2.0  # for each batch size
N_THREADS = os.cpu_count()
# heading, metric, outputs
TABLES = [
    ("Euclidean distances, all outputs", "euclidean", None),
    ("Euclidean distances, cluster labels only", "euclidean", ("cluster_label",)),
    ("Manhattan distances, all outputs", "manhattan", None),
]
SUFFIXES = {"Keras": ".keras", "SavedModel": "", "ONNX Runtime": ".onnx", "LiteRT": ".tflite"}
FORMATS = {"SavedModel": "tf_saved_model", "ONNX Runtime": "onnx", "LiteRT": "litert"}


def load_keras(path):
    """Return the model of a Keras file, called as it is."""
    import_tensorflow()
    import keras  # noqa: TID251  # the loaded model is measured without the package

    return keras.models.load_model(path)


def load_savedmodel(path):
    """Return the endpoint of a SavedModel."""
    tensorflow = import_tensorflow()
    model = tensorflow.saved_model.load(path)
    return lambda X: model.serve(tensorflow.constant(X))


def load_onnx(path):
    """Return the session of an ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return lambda X: session.run(None, {"samples": X})


def load_litert(path):
    """Return the signature of a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path, num_threads=N_THREADS).get_signature_runner()
    return lambda X: runner(samples=X)


LOADERS = {
    "Keras": load_keras,
    "SavedModel": load_savedmodel,
    "ONNX Runtime": load_onnx,
    "LiteRT": load_litert,
}


def make_estimator(metric):
    """Return samples, and a map of them."""
    X = make_curved_data(N_SAMPLES, N_FEATURES)
    return X, TFSOM(GRID_SIZE, metric=metric, n_clusters=N_CLUSTERS).fit(X)


def measure_estimator(metric, outputs):
    """Measure `predict` of the estimator, with `transform` unless only labels are asked for."""
    X, som = make_estimator(metric)
    if outputs == ("cluster_label",):
        return measure(som.predict, X)
    return measure(lambda rows: (som.transform(rows), som.predict(rows)), X)


def measure_format(name, path):
    """Measure an exported model, without the estimator."""
    return measure(LOADERS[name](path), make_curved_data(N_SAMPLES, N_FEATURES))


def measure(call, X):
    """Return the row of a table: milliseconds of batches, and memory of the largest."""
    row = {}
    call(X[:1])
    memory = measure_peak_memory(lambda: call_again_and_again(call, X))
    for n_rows in BATCH_SIZES:
        call_batch = functools.partial(call, X[:n_rows].copy())
        n_calls = max(3, int(SECONDS / max(time_warm_call(call_batch), 1e-4)))
        times = [time_call(call_batch) for _ in range(n_calls)]
        row[f"{n_rows:,} (ms)"] = 1000 * float(np.median(times))
    return {**row, "memory (MiB)": memory}


def call_again_and_again(call, X):
    """Call a model as a server does: ONNX Runtime keeps more memory from the second call on."""
    for _ in range(3):
        call(X)


def measure_table(metric, outputs, folder):
    """Return the rows of a table: the estimator and all formats."""
    methods = "transform and predict" if outputs is None else "predict"
    rows = [{"model": methods, **run_in_new_process(measure_estimator, metric, outputs)}]
    model = make_estimator(metric)[1].to_keras(outputs=outputs)
    for name, suffix in SUFFIXES.items():
        path = f"{folder}/{metric}_{len(model.outputs)}{suffix}"
        if name == "Keras":
            model.save(path)
        else:
            model.export(path, format=FORMATS[name], verbose=False)
        rows.append({"model": name, **run_in_new_process(measure_format, name, path)})
    return rows


def main():
    """Run all tables."""
    parse_arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        tables = {
            heading: measure_table(metric, outputs, folder) for heading, metric, outputs in TABLES
        }
    save_results(
        "serving",
        tables,
        [
            f"Maps of {GRID_SIZE}x{GRID_SIZE} units, trained on {N_SAMPLES} samples of "
            f"{N_FEATURES} features on a curved manifold. Median of all calls within "
            f"{SECONDS:g} s for each size of a batch; a process for each row.",
            "Memory: peak during three calls with 10,000 samples, beyond what was held after a "
            "call with one.",
            "Keras: the loaded model called as `model(X)`, operation by operation. SavedModel: "
            f"its endpoint `serve`. LiteRT: with {N_THREADS} threads, one for each core.",
        ],
        packages=["keras", "onnxruntime", "ai-edge-litert"],
    )


if __name__ == "__main__":
    main()
