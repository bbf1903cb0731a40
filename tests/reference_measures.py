"""Slow reference implementations of the quality measures, and maps to compare them on.

Each reference has the name of its measure, takes the map, X and y as far as the measure does, and
computes one value from public attributes by loops over units and samples. It has no sample
weights: tests repeat samples instead. To test a new measure, add its reference.
"""

import copy
import functools
import inspect
import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import reference
from sklearn.metrics import normalized_mutual_info_score

from sklearn_tfsom import TFSOM, metrics

LATTICES = ["hexagonal", "rectangular"]
BOUNDARIES = ["planar", "cylindrical", "toroidal"]
METRICS = list(reference.DISTANCES)
# These have no reference here, but tests of their own.
TABLES = ["class_counts", "separation_curve"]
MEASURES = [
    name for name in metrics.__all__ if not name.endswith("_scorer") and name not in TABLES
]
CLASSES = np.random.RandomState(4).randint(3, size=60)


class Reference(NamedTuple):
    """Reference implementation and the data that the measure supports."""

    function: Callable
    params: dict[str, Any]  # parameters of the measure in comparisons
    metrics: list[str]
    allows_missing: bool
    n_samples: int  # number of samples, and of units, for which the reference is fast
    max_units: int


REFERENCES: dict[str, Reference] = {}


def register(
    *, metrics=METRICS, allows_missing=True, n_samples=20, max_units=42, params=None
) -> Callable:
    """Decorate a reference to add it to `REFERENCES` by its name."""

    def add(function):
        REFERENCES[function.__name__] = Reference(
            function=function,
            params=params or {},
            metrics=metrics,
            allows_missing=allows_missing,
            n_samples=n_samples,
            max_units=max_units,
        )
        return function

    return add


def arguments_of(measure):
    """Return the names of the parameters of a measure or a reference."""
    return list(inspect.signature(measure).parameters)


def compute(name, som, X, y=CLASSES, rows=slice(None), sample_weight=None, **params):
    """Compute a measure of some rows of X as an array, without the lags if there are any."""
    measure = getattr(metrics, name)
    data = {"X": X[rows], "y": y[rows], "sample_weight": sample_weight}
    data = {key: value for key, value in data.items() if key in arguments_of(measure)}
    value = measure(som, **data, **params)
    return np.asarray(value[-1] if isinstance(value, tuple) else value)


def compute_reference(name, som, X, y, **params):
    """Compute the reference of a measure as an array."""
    function = REFERENCES[name].function
    data = {key: value for key, value in {"X": X, "y": y}.items() if key in arguments_of(function)}
    return np.asarray(function(som, **data, **params))


def samples(seed=0, n_samples=60):
    return np.random.RandomState(seed).normal(size=(n_samples, 3))


@functools.cache
def _fitted_map(lattice, boundary, shape, seed):
    som = TFSOM(shape, lattice=lattice, boundary=boundary, max_iter=1, radius_decay=[1.7])
    return som.fit(samples(seed))


def random_map(lattice="hexagonal", boundary="planar", shape=(4, 3), seed=1):
    """Return a fitted map with random code vectors, so that neighboring units are not close."""
    som = copy.copy(_fitted_map(lattice, boundary, shape, seed))
    som.codebook_ = np.random.RandomState(seed).normal(size=som.codebook_.shape)
    return som


def distance(x, w, metric):
    """Return the distance of two vectors over the known values of the first."""
    return _distance(x.tobytes(), w.tobytes(), metric)


@functools.cache
def _distance(x, w, metric):
    """Compute a distance once for all measures and grids with these vectors."""
    x, w = np.frombuffer(x), np.frombuffer(w)
    known = ~np.isnan(x)
    return reference.DISTANCES[metric](x[known], w[known])


def squared_distance(x, w, metric):
    """Return the squared distance; ``1 - cos`` is half a squared distance."""
    length = distance(x, w, metric)
    return length if metric in reference.AVERAGED else length**2


def chord(x, w, metric):
    """Return the distance of two vectors, or of the ends of their directions."""
    length = distance(x, w, metric)
    return math.sqrt(2 * length) if metric in reference.AVERAGED else length


def units_by_distance(som, x):
    """Return all units, the closest first."""
    return sorted(
        range(len(som.codebook_)), key=lambda k: distance(x, som.codebook_[k], som.metric)
    )


def best_units(som, X):
    return [units_by_distance(som, x)[0] for x in X]


def grid_distances(som):
    """Return the grid distances of all units."""
    return _grid_distances(tuple(som.grid_shape_), som.lattice, som.boundary)


@functools.cache
def _grid_distances(shape, lattice, boundary):
    units = list(itertools.product(range(shape[0]), range(shape[1])))
    return np.array(
        [[reference.grid_distance(a, b, shape, lattice, boundary) for b in units] for a in units]
    )


def are_neighbors(som, n_neighbors=None):
    """Return for each pair of units whether they are neighbors. No unit is its own neighbor."""
    reach = math.sqrt(2) if n_neighbors == 8 else 1
    distances = grid_distances(som)
    return (distances <= reach + 1e-9) & ~np.eye(len(distances), dtype=bool)


def shortest_paths(lengths):
    """Return the lengths of the shortest paths by Floyd's algorithm; inf for no edge."""
    paths = np.array(lengths)
    np.fill_diagonal(paths, 0)
    for via in range(len(paths)):
        paths = np.minimum(paths, paths[:, via, None] + paths[None, via])
    return paths


def orders(values):
    """Return all orders of indices by rising values, with every order of ties."""
    found = [[]]
    for value in sorted(set(values)):
        ties = [k for k, other in enumerate(values) if other == value]
        found = [order + list(more) for order in found for more in itertools.permutations(ties)]
    return found


@register()
def quantization_error(som, X):
    return np.mean([min(distance(x, w, som.metric) for w in som.codebook_) for x in X])


@register()
def explained_variance(som, X):
    mean = np.nanmean(X, axis=0)
    if som.metric in reference.AVERAGED:
        mean = reference.averaged(X, som.metric).sum(axis=0)
    residual = total = 0.0
    for x in X:
        residual += min(squared_distance(x, w, som.metric) for w in som.codebook_)
        total += squared_distance(x, mean, som.metric)
    return 1 - residual / total


@register(metrics=["euclidean"])
def log_likelihood(som, X):
    n_features = X.shape[1]
    mean_length = math.sqrt(2) * math.gamma((n_features + 1) / 2) / math.gamma(n_features / 2)
    deviation = som.quantization_error_ / mean_length
    logs = []
    for x in X:
        n_known = np.count_nonzero(~np.isnan(x))
        density = 0.0
        for hits, w in zip(som.hits_, som.codebook_, strict=True):
            squared = squared_distance(x, w, som.metric)
            gaussian = math.exp(-squared / (2 * deviation**2))
            gaussian /= (math.sqrt(2 * math.pi) * deviation) ** n_known
            density += (hits + 1) / (som.hits_ + 1).sum() * gaussian
        logs.append(math.log(density))
    return np.mean(logs)


def neighborhood_sums(som, x, radius):
    """Return the weighted sum of squared distances of a sample for each center."""
    radius = som.history_["radius"][-1] if radius is None else radius
    H = _neighborhood_matrix(
        tuple(som.grid_shape_), som.lattice, som.boundary, som.neighborhood, radius
    )
    squared = [squared_distance(x, w, som.metric) for w in som.codebook_]
    return [sum(h * c for h, c in zip(row, squared, strict=True)) for row in H]


_neighborhood_matrix = functools.cache(reference.neighborhood_matrix)


@register()
def distortion(som, X, radius=None):
    bmus = best_units(som, X)
    return np.mean(
        [neighborhood_sums(som, x, radius)[bmu] for x, bmu in zip(X, bmus, strict=True)]
    )


@register()
def heskes_energy(som, X, radius=None):
    return np.mean([min(neighborhood_sums(som, x, radius)) for x in X])


@register()
def topographic_error(som, X, n_neighbors=None):
    if len(som.codebook_) == 1:
        return 0.0
    related = are_neighbors(som, n_neighbors)
    return np.mean([not related[tuple(units_by_distance(som, x)[:2])] for x in X])


@register()
def combined_error(som, X, n_neighbors=None):
    codebook, related = som.codebook_, are_neighbors(som, n_neighbors)
    steps = [[chord(a, b, som.metric) for b in codebook] for a in codebook]
    paths = shortest_paths(np.where(related, steps, np.inf))
    total = 0.0
    for x in X:
        first, *others = units_by_distance(som, x)
        total += chord(x, codebook[first], som.metric)
        total += paths[first, others[0]] if others else 0.0
    return total / len(X)


@register(max_units=6)
def topographic_product(som):
    """Compute the mean over all orders of ties by enumeration. Skip equal code vectors."""
    codebook, on_grid = som.codebook_, grid_distances(som)
    total, n_terms = 0.0, 0
    for j in range(len(codebook)):
        others = [k for k, w in enumerate(codebook) if k != j and (w != codebook[j]).any()]
        n_terms += len(others)
        far = [chord(codebook[j], codebook[k], som.metric) for k in others]
        apart = [on_grid[j, k] for k in others]
        pairs = list(itertools.product(orders(apart), orders(far)))
        for by_grid, by_data in pairs:
            for k in range(1, len(others) + 1):
                product = 1.0
                for first, second in zip(by_grid[:k], by_data[:k], strict=True):
                    product *= far[first] / far[second] * apart[first] / apart[second]
                total += math.log(product ** (1 / (2 * k))) / len(pairs)
    return total / max(1, n_terms)


@register()
def topographic_function(som, X):
    n_units = len(som.codebook_)
    delaunay = np.zeros((n_units, n_units), dtype=bool)
    for x in X if n_units > 1 else []:
        i, j = units_by_distance(som, x)[:2]
        delaunay[i, j] = delaunay[j, i] = True
    in_data = shortest_paths(np.where(delaunay, 1.0, np.inf))
    wide = are_neighbors(som, 8 if som.lattice == "rectangular" else None)
    on_grid = shortest_paths(np.where(wide, 1.0, np.inf))
    is_vertex = delaunay.any(axis=1)
    near = are_neighbors(som) & np.outer(is_vertex, is_vertex)
    values = dict.fromkeys(range(1 - n_units, n_units), 0)
    for k, (i, j) in itertools.product(range(1, n_units), np.ndindex(n_units, n_units)):
        values[k] += int(delaunay[i, j] and on_grid[i, j] > k)
        values[-k] += int(near[i, j] and in_data[i, j] > k)
    values[0] = values.get(1, 0) + values.get(-1, 0)
    return [values[k] / n_units for k in range(1 - n_units, n_units)]


def pair_distances(som, X):
    """Return the distances of all samples on the grid and in data space."""
    bmus = best_units(som, X)
    in_data = np.array([[distance(x, z, som.metric) for z in X] for x in X])
    return grid_distances(som)[np.ix_(bmus, bmus)], in_data


def mean_excess(near, far, k):
    """Return 1 minus the normalized rank excess, as the mean over all orders of ties."""
    n, total = len(near), 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        near_orders, far_orders = (orders([d[i][j] for j in others]) for d in (near, far))
        for order in near_orders:
            for other_order in far_orders:
                ranks = {j: rank for rank, j in enumerate(other_order, start=1)}
                excess = sum(max(0, ranks[j] - k) for j in order[:k])
                total += excess / len(near_orders) / len(far_orders)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


@register(allows_missing=False, n_samples=6, params={"n_neighbors": 2})
def trustworthiness(som, X, n_neighbors):
    on_grid, in_data = pair_distances(som, X)
    return mean_excess(on_grid, in_data, n_neighbors)


@register(allows_missing=False, n_samples=6, params={"n_neighbors": 2})
def neighborhood_preservation(som, X, n_neighbors):
    on_grid, in_data = pair_distances(som, X)
    return mean_excess(in_data, on_grid, n_neighbors)


@register(allows_missing=False)
def c_measure(som, X):
    G, F = pair_distances(som, X)
    squares = np.sum(F**2) * np.sum(G**2)
    return np.sum(F * G) / math.sqrt(squares) if squares else 0.0


@register(allows_missing=False)
def kruskal_shepard_error(som, X):
    G, F = pair_distances(som, X)
    return np.sum((F / (F.max() or 1) - G / (G.max() or 1)) ** 2) / (len(X) * (len(X) - 1))


@register()
def purity(som, X, y):
    bmus = np.array(best_units(som, X))
    majorities = [Counter(y[bmus == unit]).most_common(1)[0][1] for unit in set(bmus.tolist())]
    return sum(majorities) / len(X)


@register()
def class_entropy(som, X, y):
    bmus = np.array(best_units(som, X))
    entropy = 0.0
    for unit, label in itertools.product(set(bmus.tolist()), set(y.tolist())):
        n_both, n_unit = np.sum((bmus == unit) & (y == label)), np.sum(bmus == unit)
        entropy -= n_both / len(X) * math.log(n_both / n_unit) if n_both else 0
    return entropy


@register()
def class_scatter_index(som, X, y, n_neighbors=None):
    related, n_regions = are_neighbors(som, n_neighbors), 0
    bmus = best_units(som, X)
    for label in set(y):
        left = {bmu for bmu, other in zip(bmus, y, strict=True) if other == label}
        while left:
            n_regions += 1
            region = [left.pop()]
            while region:
                unit = region.pop()
                joined = {other for other in left if related[unit, other]}
                left -= joined
                region += joined
    return n_regions / len(set(y))


@register()
def normalized_mutual_information(som, X, y):
    return normalized_mutual_info_score(y, best_units(som, X))


@register()
def u_matrix(som, n_neighbors=None, average="mean"):
    average = {"mean": np.mean, "median": np.median}[average]
    related, values = are_neighbors(som, n_neighbors), []
    for k, w in enumerate(som.codebook_):
        gaps = [
            distance(w, other, som.metric)
            for j, other in enumerate(som.codebook_)
            if related[k, j]
        ]
        values.append(average(gaps) if gaps else 0.0)
    return np.reshape(values, som.grid_shape_)


@register()
def hit_histogram(som, X):
    hits = np.zeros(som.grid_shape_)
    for bmu in best_units(som, X):
        hits[divmod(bmu, hits.shape[1])] += 1
    return hits
