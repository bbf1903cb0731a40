"""A slow, plain batch SOM in NumPy: loops over units, no cleverness, nothing of the package."""

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


def unit_position(row, column, lattice):
    if lattice == "rectangular":
        return float(column), float(row)
    return column + 0.5 * (row % 2), row * math.sqrt(3) / 2


def grid_distance(a, b, shape, lattice, boundary):
    """Distance between units at (row, column): the shortest over the images beyond the edges."""
    n_rows, n_columns = shape
    ax, ay = unit_position(*a, lattice)
    bx, by = unit_position(*b, lattice)
    height = 1.0 if lattice == "rectangular" else math.sqrt(3) / 2
    shift = 0.5 if lattice == "hexagonal" and n_rows % 2 else 0.0
    joins_columns = boundary in ("cylindrical", "toroidal")
    joins_rows = boundary == "toroidal" and n_rows > 1
    best = math.inf
    for up in range(-4, 5) if joins_rows else [0]:
        for across in range(-4, 5) if joins_columns else [0]:
            dx = bx + across * n_columns + up * shift - ax
            dy = by + up * n_rows * height - ay
            best = min(best, dx**2 + dy**2)
    # Squared distances are multiples of 1/4: at d = r rounding must not decide whether h is 0.
    return math.sqrt(round(4 * best) / 4)


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
    bmus = []
    for x in X:
        distances = np.array([np.linalg.norm(x - w) for w in codebook])
        near = distances <= distances.min() * (1 + 1e-12)
        bmus.append(int(np.flatnonzero(near)[0]))
    return np.array(bmus)


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
