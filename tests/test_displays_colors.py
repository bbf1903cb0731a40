"""Colors of many classes, as people with color vision deficiencies see them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom.displays._colors import class_colors, colors_on_map

# Another model than that of the library, by Vienot, Brettel and Mollon (1999): Digital video
# colourmaps for checking the legibility of displays by dichromats. Color Research and Application
# 24(4).
TO_LMS = np.array(
    [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
)
WITHOUT_RED = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
WITHOUT_GREEN = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175],
     [0.0193339, 0.119192, 0.9503041]]
)  # fmt: skip


def lab(linear):
    xyz = linear @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.column_stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])]
    )


def differences(colors):
    """Return the least difference of each pair, to people of any color vision."""
    srgb = colors[:, :3]
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    found = []
    for lost in (np.eye(3), WITHOUT_RED, WITHOUT_GREEN):
        seen = linear @ (np.linalg.inv(TO_LMS) @ lost @ TO_LMS).T
        values = lab(np.clip(seen, 0, 1))
        found.append(np.linalg.norm(values[:, None] - values, axis=2))
    return np.min(found, axis=0)


def touching(grid, labels):
    """Return the pairs of classes with neighboring units."""
    return {
        (labels[unit], labels[other])
        for unit, others in enumerate(grid.neighbors())
        for other in others
        if other >= 0 and labels[unit] != labels[other] and min(labels[unit], labels[other]) >= 0
    }


def regions(n_classes, seed=0):
    """Return classes in regions of a map, as letters would be."""
    grid = Grid(24, 18)
    seeds = np.random.RandomState(seed).uniform(0, 18, size=(n_classes, 2))
    nearest = np.linalg.norm(grid.positions()[:, None] - seeds, axis=2).argmin(axis=1)
    return grid, nearest


@pytest.mark.parametrize("n_classes", [12, 26])
def test_classes_that_touch_differ(n_classes):
    grid, labels = regions(n_classes)
    between = differences(colors_on_map(grid, labels, n_classes))
    in_order = differences(class_colors(n_classes))
    pairs = touching(grid, labels)
    least, least_in_order = (min(d[pair] for pair in pairs) for d in (between, in_order))
    assert least > 12 and least >= least_in_order
    close = [sum(d[pair] < 20 for pair in pairs) for d in (between, in_order)]
    assert close[0] <= close[1]


def test_most_frequent_classes_get_the_first_colors():
    grid, labels = regions(26)
    colors = colors_on_map(grid, labels, 26)
    sizes = np.bincount(labels, minlength=26)
    assert_array_equal(colors[np.argmax(sizes)], class_colors(26)[0])
    first = {tuple(color) for color in class_colors(26)[:12]}
    large = np.argsort(-sizes)[:6]
    assert sum(tuple(color) in first for color in colors[large]) >= 5


@pytest.mark.parametrize("n_classes", [0, 1, 10, 11, 60])
def test_colors_are_different_and_few_are_in_order(n_classes):
    colors = class_colors(n_classes)
    assert colors.shape == (n_classes, 4)
    assert len({tuple(color) for color in colors}) == n_classes
    grid, labels = regions(max(n_classes, 1))
    if n_classes and n_classes <= 10:
        assert_array_equal(colors_on_map(grid, labels, n_classes), colors)


def test_thousands_of_classes_share_colors():
    colors = class_colors(20_000)
    assert colors.shape == (20_000, 4)
    assert len({tuple(color) for color in colors[:1000]}) == 1000
    grid, labels = regions(26)
    assert_array_equal(colors_on_map(grid, labels, 20_000), colors)


def test_units_without_a_class():
    X, y = load_digits(return_X_y=True)
    som = TFSOM((30, 30), max_iter=2).fit(X)
    labels = np.full(900, -1)
    labels[som.bmus(X)] = y + 3
    assert len(colors_on_map(Grid(30, 30), labels, 13)) == 13
