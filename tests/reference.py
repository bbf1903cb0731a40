"""A slow, plain batch SOM in NumPy: loops over units, no cleverness, nothing of the package."""

import functools
import math

import numpy as np

NEIGHBORHOODS = {
    "gaussian": lambda d, r: math.exp(-(d**2) / (2 * r**2)),
    "cut_gaussian": lambda d, r: math.exp(-(d**2) / (2 * r**2)) if d <= r else 0.0,
    "bubble": lambda d, r: 1.0 if d <= r else 0.0,
    "epanechnikov": lambda d, r: max(0.0, 1 - d**2 / r**2),
    "mexican_hat": lambda d, r: (1 - d**2 / r**2) * math.exp(-(d**2) / (2 * r**2)),
    "triangle": lambda d, r: max(0.0, 1 - d / r),
}


def cosine_distance(x, w):
    """Half the squared distance of unit vectors, which cancels less than 1 - cos."""
    if not (x.any() and w.any()):
        return 1.0  # a row of zeros has no direction
    difference = x / np.linalg.norm(x) - w / np.linalg.norm(w)
    return float(difference @ difference) / 2


# The distance of two vectors without missing values, by metric.
DISTANCES = {
    "euclidean": lambda x, w: math.sqrt(sum((a - b) ** 2 for a, b in zip(x, w, strict=True))),
    "cosine": cosine_distance,
    "correlation": lambda x, w: cosine_distance(x - x.mean(), w - w.mean()),
    "manhattan": lambda x, w: sum(abs(a - b) for a, b in zip(x, w, strict=True)),
    "chebyshev": lambda x, w: max(abs(a - b) for a, b in zip(x, w, strict=True)),
}

# The vector that is averaged in place of a sample, where it is not the sample itself.
AVERAGED = {
    "cosine": lambda x: x / np.linalg.norm(x),
    "correlation": lambda x: (x - x.mean()) / np.linalg.norm(x - x.mean()),
}


def distances(X, codebook, metric="euclidean"):
    """Distances of samples to all units, over the known features of each sample."""
    of, X, codebook = DISTANCES[metric], np.asarray(X, float), np.asarray(codebook, float)
    known = [~np.isnan(x) for x in X]
    return np.array([[of(x[k], w[k]) for w in codebook] for x, k in zip(X, known, strict=True)])


def closest(distances):
    """Lowest index among the units that are closest within rounding."""
    near = distances <= distances.min(axis=1, keepdims=True) * (1 + 1e-13) + 1e-28
    return near.argmax(axis=1)


def averaged(X, metric):
    """Samples as they are averaged by unit under a metric."""
    of = AVERAGED.get(metric, lambda x: x)
    return np.array([of(x) for x in np.asarray(X, float)])


def updated(X, codebook, H, metric="euclidean", sample_weight=None):
    """Codebook after an epoch with a neighborhood matrix, by feature where values are missing."""
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    values = averaged(X, metric)
    shares = H[:, closest(distances(X, codebook, metric))] * weights
    counts = shares @ ~np.isnan(values)
    means = shares @ np.nan_to_num(values) / np.where(counts == 0, 1, counts)
    return averaged(np.where(counts == 0, codebook, means), metric)


def unit_position(row, column, lattice):
    if lattice == "rectangular":
        return float(column), float(row)
    return column + 0.5 * (row % 2), row * math.sqrt(3) / 2


@functools.cache
def grid_distance(a, b, shape, lattice, boundary):
    """Distance between units at (row, column): the shortest over the images beyond the edges."""
    ends = unit_position(*a, lattice), unit_position(*b, lattice)
    # Squared distances are multiples of 1/4: at d = r rounding must not decide whether h is 0.
    return math.sqrt(round(4 * distance(*ends, shape, lattice, boundary) ** 2) / 4)


def distance(a, b, shape, lattice, boundary):
    """Distance between places (x, y) on the plane of a map."""
    return math.hypot(*difference(a, b, shape, lattice, boundary))


def difference(a, b, shape, lattice, boundary):
    """Way from a place (x, y) to another: the shortest over the images beyond the edges."""
    n_rows, n_columns = shape
    height = 1.0 if lattice == "rectangular" else math.sqrt(3) / 2
    shift = 0.5 if lattice == "hexagonal" and n_rows % 2 else 0.0
    joins_columns = boundary in ("cylindrical", "toroidal")
    joins_rows = boundary == "toroidal" and n_rows > 1
    best = (math.inf, math.inf)
    for up in range(-2, 3) if joins_rows else [0]:
        for across in range(-2, 3) if joins_columns else [0]:
            dx = b[0] + across * n_columns + up * shift - a[0]
            dy = b[1] + up * n_rows * height - a[1]
            best = min(best, (dx, dy), key=lambda way: math.hypot(*way))
    return best


def stretch(shape, whole, lattice, boundary):
    """How far a coarser grid is stretched along x and y to span the plane of the whole one."""

    def extent(grid):
        n_rows, n_columns = grid
        height = 1.0 if lattice == "rectangular" else math.sqrt(3) / 2
        shift = 0.5 if lattice == "hexagonal" and n_rows > 1 else 0.0
        width = n_columns if boundary != "planar" else n_columns - 1 + shift
        return width, height * (n_rows if boundary == "toroidal" else n_rows - 1)

    return [w / c if c else 1.0 for w, c in zip(extent(whole), extent(shape), strict=True)]


def stretched_positions(shape, whole, lattice, boundary):
    """Where the units of a coarser grid stand on the plane of the whole one."""
    along = stretch(shape, whole, lattice, boundary)
    units = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
    places = [unit_position(*unit, lattice) for unit in units]
    return [(x * along[0], y * along[1]) for x, y in places]


def train_coarse_to_fine(X, axes, radii, shapes, lattice, boundary):
    """Train with a Gaussian from a start on the plane of two axes; `shapes` ends with the map.

    Of the variance of the Gaussian goes what that of a place in a coarser cell is more.
    """
    whole, of_cell = shapes[-1], 1 / 12 if lattice == "rectangular" else 5 / 72
    n_rows, n_columns = shapes[0]
    codebook = []
    for row in range(n_rows):
        for column in range(n_columns):
            along = [2 * row / (n_rows - 1) - 1, 2 * column / (n_columns - 1) - 1]
            longer_first = along if whole[0] >= whole[1] else along[::-1]
            codebook.append(X.mean(axis=0) + longer_first @ axes)
    for radius, source, target in zip(radii, shapes, shapes[1:], strict=False):
        bmus = best_matching_units(X, np.array(codebook))
        there = stretched_positions(source, whole, lattice, boundary)
        variances = [
            radius**2 - of_cell * (along**2 - 1)
            for along in stretch(source, whole, lattice, boundary)
        ]
        codebook = []
        for place in stretched_positions(target, whole, lattice, boundary):
            ways = [difference(place, other, whole, lattice, boundary) for other in there]
            h = [math.exp(-np.sum(np.square(way) / variances) / 2) for way in ways]
            codebook.append(np.average(X, axis=0, weights=np.array(h)[bmus]))
    return np.array(codebook)


def neighborhood_matrix(shape, lattice, boundary, neighborhood, radius):
    h = NEIGHBORHOODS[neighborhood]
    units = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
    H = np.empty((len(units), len(units)))
    for k, a in enumerate(units):
        for j, b in enumerate(units):
            H[k, j] = h(grid_distance(a, b, shape, lattice, boundary), radius)
    return H


def best_matching_units(X, codebook):
    """Lowest index among the units that are closest within rounding."""
    return closest(distances(X, codebook))


def train(X, codebook, radii, shape, lattice, boundary, neighborhood, sample_weight=None):
    """Train in batches; return the codebook and the quantization error before each epoch."""
    X = np.asarray(X, dtype=np.float64)
    weights = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    codebook = np.array(codebook, dtype=np.float64)
    errors = []
    for radius in radii:
        H = neighborhood_matrix(shape, lattice, boundary, neighborhood, radius)
        bmus = best_matching_units(X, codebook)
        errors.append(np.average(np.linalg.norm(X - codebook[bmus], axis=1), weights=weights))
        new = codebook.copy()
        for k in range(len(codebook)):
            share = weights * H[k, bmus]
            if share.sum() != 0:
                # Deviations from the old code vector: no digits are lost far from the origin.
                new[k] = codebook[k] + share @ (X - codebook[k]) / share.sum()
        codebook = new
    return codebook, np.array(errors)


def learn_stream(X, codebook, calls, radii, shape, lattice, boundary, neighborhood):
    """Learn a stream as `partial_fit` documents it, from its start; all weights are 1.

    `calls` are the numbers of samples of the calls, `radii` the first and the last radius. Return
    the codebook and the radius of each mini-batch.
    """
    n_units = len(codebook)
    sums, counts = 0.1 * codebook, np.full(n_units, 0.1)
    seen, used_radii = 0, []
    for n_samples in calls:
        first, end = seen, seen + n_samples
        while first < end:
            size = int(max(4, min(max(1024, n_units / 4), 0.05 * seen)))
            stop = end if end - first < 1.5 * size else first + size
            share = min(1.0, seen / max(100, 0.6 * n_units))
            radius = radii[0] * (radii[1] / radii[0]) ** share
            used_radii.append(radius)
            batch = X[first:stop]
            bmus = best_matching_units(batch, codebook)
            seen += len(batch)
            memory = min(max(500, 5 * n_units), max(1, 0.3 * seen))
            decay = math.exp(-len(batch) / memory)
            sums, counts = decay * sums, decay * counts
            for x, bmu in zip(batch, bmus, strict=True):
                sums[bmu] += x
                counts[bmu] += 1
            H = neighborhood_matrix(shape, lattice, boundary, neighborhood, radius)
            weights = H @ counts
            new = codebook.copy()
            for k in range(n_units):
                if weights[k] != 0:
                    new[k] = H[k] @ sums / weights[k]
            codebook, first = new, stop
    return codebook, np.array(used_radii)
