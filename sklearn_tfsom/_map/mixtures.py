"""Gaussian clusters: whether a mixture of Gaussians describes some points, and their clusters.

Gaussian clusters that overlap are not separated by a gap, but a mixture model finds them. It is
used only if it describes held-out points better than a kernel density estimate, by a margin that
grows with the number of samples for each point. Both are fitted on nine tenths of the points and
compared on the others.

scikit-learn's GaussianMixture takes no sample weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

# Densities are compared along five principal components: in more dimensions neither is good.
# (5: adjusted Rand index 0.85 on the sets that it was chosen with; 10: 0.81, 20: 0.83.)
_N_COMPONENTS = 5

# Number of folds, and the fewest points that are divided into folds. With 5 folds the random
# division decides more often: of 8 sets of three Gaussians, divided 8 times each, 6 got another
# number of clusters, and none with 10.
_N_FOLDS, _MIN_DIVIDED = 10, 20

# Share of the mean variance that is added to each variance.
_RIDGE = 1e-3

# Rounding of a covariance, as a share of the largest square of a value that it is computed from.
_ROUNDING = 1e-13

# A mixture of the training points begins with that of all points; it needs few steps. Steps end
# where the mean logarithm of the density hardly grows.
_MAX_ITER, _MAX_ITER_OF_FOLD, _LEAST_GAIN = 30, 5, 1e-4

# A mixture must be better by this much in the mean logarithm of the density, each time that a
# point stands for twice as many samples: few points blur a kernel density.
_LEAST_ADVANTAGE = 0.03

# A uniform density is better by this much, or the data count as clusters.
_CLEAR_DENSITY = 0.02

# Bandwidths of the kernel density: the distance of each point to its 3rd, 6th or 12th
# neighbor, times a factor. The best one counts.
_NEIGHBORS, _FACTORS = (3, 6, 12), (0.5, 0.8, 1.2)


class Mixture(NamedTuple):
    """Gaussian components."""

    means: NDArray[np.float64]  # (k, n_features)
    factors: NDArray[np.float64]  # (k, n_features, n_features), inverses of Cholesky factors
    log_weights: NDArray[np.float64]  # (k,)

    def log_densities(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of each component's density times its weight: (n, k)."""
        n_components, n_features = self.means.shape
        flat = self.factors.reshape(-1, n_features)
        turned = (points @ flat.T).reshape(len(points), n_components, n_features)
        turned -= np.matmul(self.factors, self.means[:, :, None])[:, :, 0]
        log_sizes = np.log(np.diagonal(self.factors, axis1=1, axis2=2)).sum(axis=1)
        constant = self.log_weights + log_sizes - n_features / 2 * math.log(2 * math.pi)
        return constant - np.square(turned).sum(axis=2) / 2


class HeldOut:
    """How well mixtures of Gaussians describe held-out points.

    Parameters
    ----------
    points : ndarray of shape (n, n_features)
    weights : ndarray of shape (n,)
    per_point : float
        Samples that a point stands for, on average.
    """

    def __init__(
        self, points: NDArray[np.float64], weights: NDArray[np.float64], per_point: float
    ) -> None:
        self._points = _principal_components(points, weights)
        self._weights = weights / weights.sum()
        self._folds = list(_folds(len(points)))
        advantage = _LEAST_ADVANTAGE * math.log2(max(1.0, per_point))
        self._least = advantage + _kernel_density(self._points, self._weights, self._folds)

    def has_enough_points(self, n_components: int) -> bool:
        """Return True if there are at least as many coordinates as parameters of a mixture."""
        n, d = self._points.shape
        return n_components * (1 + d + d * (d + 1) // 2) <= n * d

    def best(self, starts: list[NDArray[np.int64]]) -> tuple[float, NDArray[np.int64]]:
        """Return the results of `describe` for the best start, with or without one covariance."""
        found = [self.describe(s, is_common=c) for s in starts for c in (False, True)]
        return max(found, key=lambda pair: pair[0])

    def describe(
        self, start: NDArray[np.int64], *, is_common: bool
    ) -> tuple[float, NDArray[np.int64]]:
        """Return the mean log-density of held-out points under a mixture, and its clusters.

        Parameters
        ----------
        start : ndarray of int64, shape (n,)
            Labels from 0 on, from which expectation maximization begins.
        is_common : bool
            Whether the components have one covariance.
        """
        points, weights = self._points, self._weights
        responsibilities = np.eye(int(start.max()) + 1)[start]
        mixture = fit_mixture(points, weights, responsibilities, _MAX_ITER, is_common=is_common)
        log_densities = mixture.log_densities(points)
        responsibilities = np.exp(log_densities - _log_sum(log_densities)[:, None])
        log_density = 0.0
        for train, test in self._folds:
            part = points[train], weights[train], responsibilities[train]
            others = fit_mixture(*part, _MAX_ITER_OF_FOLD, is_common=is_common)
            log_density += float(weights[test] @ _log_sum(others.log_densities(points[test])))
        return log_density, log_densities.argmax(axis=1)

    def beats_kernel_density(self, log_density: float) -> bool:
        """Return True if this density of held-out points is better than a kernel density."""
        return bool(self._folds) and log_density >= self._least

    @property
    def is_flat(self) -> bool:
        """Whether the points lie in a plane or on a line, where a hull is known well."""
        return self._points.shape[1] <= 2

    def is_uniform(self, log_density: float) -> bool:
        """Return True if a uniform density describes held-out points clearly better.

        It is that on the convex hull: of new points about as many lie outside as there are
        vertices (Efron 1965: The convex hull of a random set of points. Biometrika 52).

        Parameters
        ----------
        log_density : float
            Of the best mixture.
        """
        points = self._points
        if points.shape[1] == 1:
            volume, n_vertices = float(np.ptp(points)), 2
        else:
            hull = ConvexHull(points, qhull_options="QJ")  # joggled: points may lie on a grid
            volume, n_vertices = hull.volume, len(hull.vertices)
        share_inside = 1 - n_vertices / len(points)
        if share_inside <= 0:
            return False
        uniform = math.log(share_inside / volume)
        return self.beats_kernel_density(uniform) and uniform > log_density + _CLEAR_DENSITY


def fit_mixture(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    responsibilities: NDArray[np.float64],
    max_iter: int,
    *,
    is_common: bool,
) -> Mixture:
    """Fit Gaussians by expectation maximization, from the responsibilities (n, k)."""
    center = np.average(points, axis=0, weights=weights)
    spread = np.average((points - center) ** 2, axis=0, weights=weights).mean()
    rounding = _ROUNDING * np.square(points).max()
    ridge = (max(_RIDGE * spread, rounding) or 1.0) * np.eye(points.shape[1])
    products = (points[:, :, None] * points[:, None, :]).reshape(len(points), -1)
    former = -np.inf
    for _ in range(max_iter):
        mixture = _from_responsibilities(
            points, products, responsibilities * weights[:, None], ridge, is_common=is_common
        )
        log_densities = mixture.log_densities(points)
        log_density = _log_sum(log_densities)
        responsibilities = np.exp(log_densities - log_density[:, None])
        reached = float(np.average(log_density, weights=weights))
        if reached - former < _LEAST_GAIN:
            break
        former = reached
    return mixture


def _from_responsibilities(
    points: NDArray[np.float64],
    products: NDArray[np.float64],
    weighted: NDArray[np.float64],
    ridge: NDArray[np.float64],
    *,
    is_common: bool,
) -> Mixture:
    totals = np.maximum(weighted.sum(axis=0), 1e-9 * weighted.sum())
    means = weighted.T @ points / totals[:, None]
    squares = (weighted.T @ products).reshape(-1, *ridge.shape) / totals[:, None, None]
    covariances = squares - means[:, :, None] * means[:, None, :]
    if is_common:
        covariances[:] = np.average(covariances, axis=0, weights=totals)
    factors = np.linalg.inv(np.linalg.cholesky(covariances + ridge))
    return Mixture(means, factors, np.log(totals / totals.sum()))


def _log_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the sum of exponentials of each row.

    SciPy's `logsumexp` takes several times as long for few columns.
    """
    largest = values.max(axis=1)
    return largest + np.log(np.exp(values - largest[:, None]).sum(axis=1))


def _kernel_density(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> float:
    """Return the logarithm of the kernel density of held-out points, of Gaussians at the others.

    The one at a point is as wide as the neighborhood of the point (Breiman, Meisel and Purcell
    1977: Variable kernel estimates of multivariate densities. Technometrics 19).
    """
    n_features = points.shape[1]
    smallest = 1e-6 * (float(np.ptp(points, axis=0).max()) or 1.0)
    reached = np.zeros((len(_NEIGHBORS), len(_FACTORS)))
    for train, test in folds:
        places = [min(n_neighbors, len(train) - 1) for n_neighbors in _NEIGHBORS]
        among = np.partition(cdist(points[train], points[train]), places, axis=1)
        squared = cdist(points[test], points[train], "sqeuclidean")
        shares = weights[train] / weights[train].sum()
        for i, place in enumerate(places):
            for j, factor in enumerate(_FACTORS):
                width = factor * among[:, place] + smallest
                exponents = -squared / (2 * width**2) - n_features * np.log(width)
                log_density = _log_sum(exponents + np.log(shares))
                log_density -= n_features / 2 * math.log(2 * math.pi)
                reached[i, j] += weights[test] @ log_density
    return float(reached.max())


def _principal_components(
    points: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the coordinates along the main directions in which the points spread."""
    centered = points - np.average(points, axis=0, weights=weights)
    _, sizes, directions = np.linalg.svd(centered * np.sqrt(weights)[:, None], full_matrices=False)
    n_kept = max(1, min(_N_COMPONENTS, int(np.count_nonzero(sizes > 1e-6 * sizes[0]))))
    return centered @ directions[:n_kept].T


def _folds(n: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide points into those for training and the others; none where they are few."""
    if n < _MIN_DIVIDED:
        return
    fold = np.random.RandomState(0).permutation(n) % _N_FOLDS
    for number in range(_N_FOLDS):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)
