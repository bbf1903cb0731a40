"""Choice between several maps of the same samples, after the last epochs of each.

A map that folds while its radius is wide stays folded. Its folds depend on the radius and on
arbitrary properties of the start, such as the sign of a principal direction (a hexagonal grid with
its shifted rows differs from its mirror image). So while the radius still falls, the map is
compared with one that began with a wider radius, and the better of these with its mirror image.
All are trained to the end on a subsample.

The constants were chosen on every second set of benchmarks/folds.py, with three versions of each
that lack 5 % of the samples. The results on the other sets are in benchmarks/results/folds.json.
"""

from __future__ import annotations

import math

from sklearn_tfsom._map.geometry import joins_columns
from sklearn_tfsom._map.grid import Grid

# Different samples that all maps are trained on, and units up to which the choice costs little.
MAX_SAMPLES = 4000
_MAX_UNITS = 1024

# The other map begins with twice the radius. Without it, six to eight fewer of some hundred maps
# have errors as low as those of SOM Toolbox.
WIDER = 2.0

# Share of the epochs after which maps are compared. The topographic error is lowest at 0.6, and
# hardly differs from 0.4 to 0.8.
_WHEN = 0.6

# A topographic error of 0.01 counts as much as 2 % of the quantization error. Another map must be
# better by more than rounding, which would choose where samples are their own mirror image.
_WEIGHT_OF_FOLDS, _MARGIN = 2.0, 1e-3


def epoch_to_compare_after(grid: Grid, n_epochs: int) -> int | None:
    """Return the epoch (from 1) after which the map is compared; None where it is not.

    Hexagonal planar grids of at least two rows and columns are compared, unless they are so large
    that it takes too long. Others are their own mirror images, or can be shifted onto them.
    """
    is_its_own = not grid.is_hexagonal or joins_columns(grid) or min(grid.shape) == 1
    epoch = int(_WHEN * n_epochs)
    return epoch if grid.n_units <= _MAX_UNITS and not is_its_own and epoch > 0 else None


def is_better(other: tuple[float, float], own: tuple[float, float], rounding: float) -> bool:
    """Return True if another map is better, by quantization and topographic error.

    Quantization errors so small that `rounding` exceeds the margin count as equal.
    """

    def badness(quantization_error: float, topographic_error: float) -> float:
        error = max(quantization_error, rounding / _MARGIN)
        return math.log(error) + _WEIGHT_OF_FOLDS * topographic_error

    return badness(*other) < badness(*own) - _MARGIN
