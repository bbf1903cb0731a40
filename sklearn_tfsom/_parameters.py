"""Valid parameters of a map, and checks of parameters and given codebooks."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom import _validation as valid
from sklearn_tfsom._data.foreign import is_float32
from sklearn_tfsom._distance import METRICS, Metric, as_codebook, is_zero
from sklearn_tfsom._map.anomaly import ANOMALY_SCORES
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES, Grid
from sklearn_tfsom._map.initialization import INITS
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom._map.schedules import RADIUS_DECAYS
from sklearn_tfsom._version import __version__

FEATURES = ("distances", "coordinates", "activations")
CODEBOOK = valid.numbers("(n_units, n_features)", 2)

_AUTO = valid.choice(["auto"])
_RADIUS = [valid.real(0, closed=False), _AUTO]
RULES = {
    "grid_size": [valid.SIDE, valid.PAIR, _AUTO],
    "lattice": [valid.choice(LATTICES)],
    "boundary": [valid.choice(BOUNDARIES)],
    "neighborhood": [valid.choice(NEIGHBORHOODS), valid.OF_TWO],
    "metric": [valid.choice(METRICS)],
    "init": [valid.choice(INITS), CODEBOOK],
    "max_iter": [valid.integer(1, 10**6)],
    "radius_start": _RADIUS,
    "radius_end": _RADIUS,
    "radius_decay": [valid.choice(RADIUS_DECAYS), valid.numbers("(max_iter,)", 1, positive=True)],
    "coarse_to_fine": [valid.BOOLEAN],
    "tol": [valid.real(0, closed=True)],
    "batch_size": [valid.integer(1), valid.NONE],
    "n_clusters": [valid.integer(1), _AUTO, valid.NONE],
    "features": [valid.choice(FEATURES)],
    "anomaly_score": [valid.choice(ANOMALY_SCORES)],
    "compute_topographic_error": [valid.BOOLEAN],
    "checkpoint_dir": [valid.PATH, valid.NONE],
    "random_state": [valid.RANDOM_STATE],
    "verbose": [valid.integer(0), valid.BOOLEAN],
}

NO_BATCHES = valid.NONE._replace(says="None for the data of an engine")

# Parameters of which those of the first worker count.
_OF_FIRST_WORKER = ("checkpoint_dir", "random_state", "verbose")


def parameters_of(som: Any) -> dict[str, Any]:
    """Return all parameters, also those of `TFSOM` that a subclass sets without listing them."""
    return {name: getattr(som, name) for name in RULES} | som.get_params(deep=False)


def checksums(som: Any) -> dict[str, float]:
    """Return numbers that must be the same on all workers: of the parameters and of the version.

    Equal values have equal numbers, whatever their types: 8 and ``np.int64(8)``, "pca" and
    ``np.str_("pca")``, lists and tuples, and functions with equal values.
    """
    values = {
        f"parameter {name!r}": valid.plain(value)
        for name, value in parameters_of(som).items()
        if name not in _OF_FIRST_WORKER
    }
    values["version of sklearn_tfsom"] = __version__
    return {name: float(zlib.crc32(repr(value).encode())) for name, value in values.items()}


def check_radii(som: Any) -> None:
    """Check that the radius does not increase.

    Raises
    ------
    InvalidParameterError
        If it would.
    """
    is_given = not isinstance(som.radius_start, str) and not isinstance(som.radius_end, str)
    if isinstance(som.radius_decay, str) and is_given and som.radius_start < som.radius_end:
        right = f"at most radius_start={valid.shown(som.radius_start)}"
        raise valid.wrong_parameter("radius_end", som, right, valid.shown(som.radius_end))


def n_clusters_wanted(n_clusters: Any) -> int:
    """Return the number of clusters that is asked for; 0 where none is."""
    return 0 if n_clusters is None or isinstance(n_clusters, str) else int(n_clusters)


def check_n_clusters(som: Any, grid: Grid, *, is_automatic: bool = False) -> None:
    """Check that there are no fewer units than clusters.

    Raises
    ------
    InvalidParameterError
        If there are.
    """
    if n_clusters_wanted(som.n_clusters) > grid.n_units:
        chosen = ", as grid_size='auto' makes it" if is_automatic else ""
        raise valid.wrong_parameter(
            "n_clusters",
            som,
            f"at most the number of units, {grid.n_units} on a map of "
            f"{grid.n_rows}x{grid.n_columns}{chosen}",
            valid.shown(n_clusters_wanted(som.n_clusters)),
        )


def given_grid(som: Any) -> Grid:
    """Return the grid of a map whose `grid_size` is not "auto"."""
    n_rows, n_columns = np.broadcast_to(np.asarray(som.grid_size, object), 2)
    return Grid(n_rows, n_columns, som.lattice, som.boundary)


def as_code_vectors(name: str, owner: Any, values: Any, metric: Metric) -> NDArray[np.float64]:
    """Return code vectors as a map has them: as directions where these are compared.

    Raises
    ------
    InvalidParameterError
        If one has no direction, or if a difference of two exceeds the range of float64.
    """
    codebook = as_codebook(np.array(valid.as_numbers(values)), metric)
    if metric.is_spherical and is_zero(codebook).any():
        right = f"code vectors that have a direction under metric={metric.name!r}"
        came = f"code vector {np.argmax(is_zero(codebook))}, which has none,"
        raise valid.wrong_parameter(name, owner, right, came)
    with np.errstate(over="ignore"):
        differences = np.ptp(codebook, axis=0)
    if not np.isfinite(differences).all():
        right = "an array of values whose differences do not exceed the range of float64"
        came = f"values from {codebook.min():.3g} to {codebook.max():.3g}"
        raise valid.wrong_parameter(name, owner, right, came)
    return codebook


def checked_codebook(som: Any, codebook: Any) -> tuple[Grid, NDArray]:
    """Check a codebook that a map is to have, and return it with the grid of its units.

    Raises
    ------
    InvalidParameterError
        If it does not fit the parameters of the map.
    """
    valid.check_parameters(som, RULES)
    valid.check_value("grid_size", som, som.grid_size, [valid.SIDE, valid.PAIR])
    valid.check_value("codebook", som, codebook, [CODEBOOK])
    grid = given_grid(som)
    check_n_clusters(som, grid)
    array = valid.as_numbers(codebook)
    if len(array) != grid.n_units:
        right = f"of shape (n_units, n_features), with {grid.n_units} units on a map of "
        right += f"{grid.n_rows}x{grid.n_columns}"
        raise valid.wrong_parameter("codebook", som, right, f"shape {array.shape}")
    dtype = np.float32 if is_float32(array.dtype) else np.float64
    given = array.astype(dtype, order="C")
    code_vectors = as_code_vectors("codebook", som, array, METRICS[som.metric])
    # Unit vectors of their dtype stay as they are: another division would round them again.
    is_kept = np.allclose(code_vectors, given, rtol=0, atol=2 * np.finfo(dtype).eps)
    return grid, given if is_kept else code_vectors.astype(dtype, order="C")


def known_error(som: Any) -> float:
    """Return the quantization error of a map.

    Raises
    ------
    ValueError
        If it is not known.
    """
    error: float = som.quantization_error_
    if math.isnan(error):
        raise ValueError(
            "The map's quantization error is not known, which this needs. Pass samples as X to "
            "from_codebook."
        )
    return error
