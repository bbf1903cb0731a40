"""Epochs: samples are searched and summed up by unit, and the sums move the codebook.

Everything here is in the scaled space, with codebooks on their grid: (n_rows, n_columns,
n_features). Training that needs one reduction over the pieces of the samples for each epoch is
the rule (`Source`); samples in the memory of one process are loaded once (`LoadedSource`), and if
they are a single tile, one graph runs several epochs.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import map_tiles, row_slices
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.neighborhood import Kernel, Kernels, SeparableKernel
from sklearn_tfsom._map.schedules import Stage
from sklearn_tfsom._tf.runtime import pays_to_compile, traced_once
from sklearn_tfsom._tf.scaling import Scaling, as_tensor, load
from sklearn_tfsom._tf.scores import (
    GRID_MATRIX,
    SCALAR,
    VECTOR,
    Kind,
    make_terms,
    search_terms,
)
from sklearn_tfsom._tf.search import (
    DenseRows,
    nearest,
    nearest_in_graph,
    pays_to_prune,
    tile_rows,
)
from sklearn_tfsom._tf.smoothing import (
    Sphere,
    kernel_arrays,
    kernel_specs,
    project_graph,
    root_mean_square_move,
    update,
    update_graph,
)
from sklearn_tfsom._tf.sparse import SparseRows, load_sparse
from sklearn_tfsom._tf.statistics import (
    Statistics,
    sum_by_unit,
    sum_graph,
    sum_sparse_by_unit,
)
from sklearn_tfsom._tf.tuning import (
    CHUNK_ROWS,
    MAX_FUSED_FEATURES,
    MAX_OUT_OF_CORE_FEATURES,
    MAX_RETURNED_VALUES,
    MIN_OUT_OF_CORE_VALUES,
    PIECE_VALUES,
)

# A decayed weight below this is 0: floating point would not tell it from 0 for long.
_MIN_WEIGHT = 1e-200


class TrainState(NamedTuple):
    """A codebook and the statistics that made it."""

    codebook: NDArray[np.float64]  # (n_rows, n_columns, n_features)
    sums: NDArray[np.float64]  # (n_units, n_features), as in `Statistics`
    counts: NDArray[np.float64]  # (n_units, 1) or (n_units, n_features)


class Epoch(NamedTuple):
    """The outcome of an epoch."""

    state: TrainState
    error: float  # mean distance to the units of the codebook that the epoch began with
    move: float  # root mean square move of the code vectors; both in data units


class Search(NamedTuple):
    """How the samples of a piece are searched."""

    scaling: Scaling
    extent: float
    weight_unit: float  # weights are divided by it, so that float32 can represent them
    n_tile: int | None  # rows of a tile; None for what suits the cache
    is_compiled: bool = False


class Source:
    """Samples to learn from, read piece by piece in each epoch.

    Parameters
    ----------
    pieces : Pieces
    scaling : Scaling
    n_tile : int, default=None
        Rows of a tile; by default what suits the cache.
    """

    def __init__(self, pieces: Pieces, scaling: Scaling, n_tile: int | None = None) -> None:
        self.pieces = pieces
        largest = float(pieces.reduce(_largest_weight, combine=np.maximum))
        self.search = Search(
            scaling,
            scaling.training_extent(),
            float(np.ldexp(1.0, int(np.frexp(largest)[1]) - 1)),
            n_tile,
        )

    def statistics(
        self, codebook: NDArray[np.float64], *, is_compiled: bool = False
    ) -> Statistics:
        """Search all samples and sum them up by best-matching unit."""
        search = self.search._replace(is_compiled=is_compiled)
        reduced = self.pieces.reduce(statistics_of, codebook, search, piece_values=PIECE_VALUES)
        return Statistics(*reduced)

    def epochs(
        self,
        codebook: NDArray[np.float64],
        kernels: Kernels,
        grid: Grid,
        radii: NDArray[np.float64],
    ) -> Iterator[Epoch]:
        """Run an epoch for each radius, on one grid."""
        is_compiled = pays_to_compile(len(self.pieces.samples) * len(radii), grid.n_units)
        for radius in radii:
            statistics = self.statistics(codebook, is_compiled=is_compiled)
            kernel = kernels.kernel(float(radius), grid, grid)
            sums, counts, _ = statistics
            codebook, move = move_codebook(codebook, sums, counts, kernel, self.search.scaling)
            yield self.epoch(codebook, statistics, move)

    def epoch(self, codebook: NDArray[np.float64], statistics: Statistics, move: float) -> Epoch:
        """Return the outcome of an epoch, in the units of the data."""
        unit, scaling = self.search.weight_unit, self.search.scaling
        sums, counts = np.asarray(statistics.sums) * unit, np.asarray(statistics.counts) * unit
        error = float(statistics.error) * unit / self.pieces.total_weight
        return Epoch(
            TrainState(codebook, sums, counts),
            error / scaling.distance_factor(),
            move / scaling.scale,
        )


class LoadedSource(Source):
    """Samples to learn from, in the memory of one process: scaled once."""

    def __init__(self, pieces: Pieces, scaling: Scaling, n_tile: int | None = None) -> None:
        super().__init__(pieces, scaling, n_tile)
        bounds = np.linspace(0, len(pieces.samples), len(pieces.workers.devices or "1") + 1)
        self._shares = [
            _load_share(pieces, self.search, slice(int(start), int(stop)), device)
            for start, stop, device in zip(
                bounds, bounds[1:], pieces.workers.devices or ("",), strict=False
            )
        ]

    def statistics(
        self, codebook: NDArray[np.float64], *, is_compiled: bool = False
    ) -> Statistics:
        """Search all samples and sum them up by best-matching unit."""
        search = self.search._replace(is_compiled=is_compiled)

        kind = search_kind(self.pieces.samples, codebook, is_compiled=is_compiled)

        def of_share(share: slice) -> Statistics:
            rows, weights, device = self._shares[share.start]
            with tf.device(device) if device else contextlib.nullcontext():
                return sum_rows(rows, weights, codebook, kind, search)

        shares = map_tiles(of_share, row_slices(len(self._shares), 1))
        return Statistics(*self.pieces.combine(_added(shares).numpy()))

    def epochs(
        self,
        codebook: NDArray[np.float64],
        kernels: Kernels,
        grid: Grid,
        radii: NDArray[np.float64],
    ) -> Iterator[Epoch]:
        """Run an epoch for each radius, on one grid; those of a single tile in one graph."""
        n_units, n_features = grid.n_units, codebook.shape[2]
        n_tile = self.search.n_tile or tile_rows(n_units, n_features)
        is_shared = self.pieces.workers.are_several or len(self._shares) > 1
        is_tile = 0 < len(self.pieces.samples) <= n_tile and not self.pieces.samples.is_sparse
        if is_shared or not is_tile:
            yield from super().epochs(codebook, kernels, grid, radii)
            return
        for some in row_slices(len(radii), max(1, MAX_RETURNED_VALUES // (3 * codebook.size))):
            of_radii = [kernels.kernel(float(radius), grid, grid) for radius in radii[some]]
            for epoch in self._epochs_in_graph(codebook, of_radii):
                yield epoch
            codebook = epoch.state.codebook

    def _epochs_in_graph(
        self, codebook: NDArray[np.float64], kernels: list[Kernel]
    ) -> Iterator[Epoch]:
        (rows, weights, _), scaling = self._shares[0], self.search.scaling
        assert isinstance(rows, DenseRows)
        parts = zip(*map(kernel_arrays, kernels), strict=True)
        stacks = [tf.constant(np.stack(part)) for part in parts]
        values = codebook, self.search.extent, scaling.center, scaling.scale
        inputs = [tf.convert_to_tensor(value, tf.float64) for value in values]
        kind = Kind(scaling.metric, self.pieces.samples.has_missing)
        graph = _epochs_graph(kind, rows.values.dtype, isinstance(kernels[0], SeparableKernel))
        *results, measured = map(np.asarray, graph(*rows, weights, *inputs, *stacks))
        for codebook, sums, counts, (error, move) in zip(*results, measured, strict=True):
            yield self.epoch(codebook, Statistics(sums, counts, error), float(move))


def make_source(pieces: Pieces, scaling: Scaling, n_tile: int | None = None) -> Source:
    """Make the source of some samples: loaded into memory, unless there are too many."""
    samples = pieces.samples
    n_features = samples.shape[1]
    is_large = samples.shape[0] * n_features >= MIN_OUT_OF_CORE_VALUES
    is_out_of_core = samples.is_on_disk or (is_large and n_features <= MAX_OUT_OF_CORE_FEATURES)
    is_loaded = samples.is_sparse or pieces.workers.devices or not is_out_of_core
    kind = LoadedSource if is_loaded else Source
    return kind(pieces, scaling, n_tile)


def search_kind(samples: Samples, codebook: NDArray, *, is_compiled: bool = False) -> Kind:
    """Return the kind of search of samples in a codebook on its grid."""
    kind, n_features = Kind(samples.metric, samples.has_missing), codebook.shape[2]
    if samples.is_sparse or not samples.metric.is_product:
        return kind
    if is_compiled and n_features <= MAX_FUSED_FEATURES and not samples.has_missing:
        return kind._replace(n_fused=n_features)
    return kind._replace(is_pruned=pays_to_prune(len(samples), codebook.shape))


def statistics_of(piece: Piece, codebook: NDArray[np.float64], search: Search) -> Statistics:
    """Search the samples of a piece and sum them up by best-matching unit."""
    samples, n_units = piece.samples, int(np.prod(codebook.shape[:2]))
    n_features = samples.shape[1]
    if not len(samples):
        return Statistics.nothing(n_units, n_features, samples.has_missing)
    rows, weights, _ = _load_share(Pieces(*piece), search, slice(None))
    kind = search_kind(samples, codebook, is_compiled=search.is_compiled)
    return sum_rows(rows, weights, codebook, kind, search).numpy()


def sum_rows(
    rows: DenseRows | SparseRows,
    weights: NDArray[np.float64] | tf.Tensor,
    codebook: NDArray[np.float64],
    kind: Kind,
    search: Search,
) -> Statistics:
    """Search rows and sum them up by best-matching unit; dense ones in chunks of tiles."""
    n_units, n_features = int(np.prod(codebook.shape[:2])), codebook.shape[2]
    n_rows = rows.norms.shape[0]
    if not n_rows:
        return Statistics.nothing(n_units, n_features, kind.has_missing)
    n_tile = search.n_tile or tile_rows(n_units, n_features)
    if isinstance(rows, SparseRows):
        terms = search_terms(codebook, search.extent, kind, n_terms=rows.max_stored())
        found = nearest(rows, terms, n_tile=search.n_tile)
        return sum_sparse_by_unit(rows, weights, found, n_units)
    terms = search_terms(codebook, search.extent, kind)
    # Two chunks at a time, so that one sums up while the other is searched; of equal size.
    n_chunks = 1 if n_rows <= CHUNK_ROWS else 2 * -(-n_rows // (2 * CHUNK_ROWS))
    n_chunk = n_tile * -(-n_rows // (n_chunks * n_tile))

    def of_chunk(chunk: slice) -> Statistics:
        part = rows.slice(chunk)
        found = nearest(part, terms, n_tile=n_tile, is_compiled=search.is_compiled)
        values = part.values, weights[chunk], *found, terms.n_units
        return Statistics(*sum_graph(kind, part.values.dtype)(*values))

    return _added(map_tiles(of_chunk, row_slices(n_rows, n_chunk)))


def run_stages(
    source: Source, state: TrainState, kernels: Kernels, stages: list[Stage]
) -> list[Epoch]:
    """Run the epochs of some stages on one source, from a state on the grid of the first."""
    epochs: list[Epoch] = []
    for index, stage in enumerate(stages):
        if index:
            former, state = stages[index - 1], epochs[-1].state
            grids = former.grid, stage.grid
            state = project(state, kernels, former.radii[-1], *grids, source.search.scaling)
        epochs += source.epochs(state.codebook, kernels, stage.grid, stage.radii)
    return epochs


def move_codebook(
    codebook: NDArray[np.float64],
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    kernel: Kernel,
    scaling: Scaling,
) -> tuple[NDArray[np.float64], float]:
    """Move a codebook to ``(H sums) / (H counts)``; see `smoothing.update`.

    Returns
    -------
    codebook : ndarray of float64, shape (n_rows, n_columns, n_features)
    move : float
        Root mean square move of the code vectors.
    """
    graph = update_graph(isinstance(kernel, SeparableKernel), scaling.metric.is_spherical)
    values = codebook, sums, counts, scaling.center, scaling.scale
    moved, move = graph(
        *(tf.convert_to_tensor(value, tf.float64) for value in values),
        *map(tf.constant, kernel_arrays(kernel)),
    )
    return moved.numpy(), float(move)


def project(
    state: TrainState,
    kernels: Kernels,
    radius: float,
    source: Grid,
    target: Grid,
    scaling: Scaling,
    *,
    is_mirrored: bool = False,
) -> TrainState:
    """Bring a codebook to another grid, by the neighborhood of some radius.

    Where the neighborhood reaches no sample, the old codebook is interpolated.
    """
    if source == target and not is_mirrored:
        return state
    kernel = kernels.kernel(float(radius), source, target, is_mirrored=is_mirrored)
    graph = project_graph(isinstance(kernel, SeparableKernel), scaling.metric.is_spherical)
    (codebook,) = graph(
        *(tf.constant(part, tf.float64) for part in state),
        tf.constant(target.n_rows),
        tf.constant(scaling.center),
        tf.constant(scaling.scale, tf.float64),
        *map(tf.constant, kernel_arrays(kernel)),
    )
    return state._replace(codebook=codebook.numpy())


def learn(
    batch: Source, state: TrainState, kernel: Kernel, decay: float
) -> tuple[TrainState, float]:
    """Learn a mini-batch: former statistics decay, those of the batch are added.

    Parameters
    ----------
    batch : Source
    state : TrainState
    kernel : Kernel
    decay : float
        What is left of the former statistics, from 0 to 1.

    Returns
    -------
    state : TrainState
    error : float
        Mean distance of the batch to its units before, in data units.
    """
    statistics = batch.statistics(state.codebook)
    unit = batch.search.weight_unit
    counts = decay * state.counts + unit * np.asarray(statistics.counts)
    sums = decay * state.sums + unit * np.asarray(statistics.sums)
    counts = np.where(counts > _MIN_WEIGHT, counts, 0)
    sums = np.where(counts > 0, sums, 0)
    codebook, _ = move_codebook(state.codebook, sums, counts, kernel, batch.search.scaling)
    error = batch.epoch(codebook, statistics, 0.0).error
    return TrainState(codebook, sums, counts), error


def _largest_weight(piece: Piece) -> NDArray[np.float64]:
    return piece.sample_weight.max(initial=0.0)


def _load_share(
    pieces: Pieces, search: Search, rows: slice, device: str = ""
) -> tuple[DenseRows | SparseRows, NDArray[np.float64] | tf.Tensor, str]:
    """Scale some of the samples, as tensors if they are dense, on a device if one is named."""
    samples = pieces.samples
    weights = pieces.sample_weight[rows] / search.weight_unit
    if samples.is_sparse:
        return load_sparse(samples.take(rows), search.scaling.scale), weights, device
    values, norms = load(samples, rows, search.scaling, samples.dtype)
    dense = DenseRows(values, as_tensor(norms))
    if not device:
        return dense, tf.constant(weights), device
    with tf.device(device):
        return DenseRows(*map(tf.identity, dense)), tf.constant(weights), device


def _added(parts: Iterator[Statistics]) -> Statistics:
    return functools.reduce(Statistics.plus, parts)


@traced_once
def _epochs_graph(
    kind: Kind, dtype: tf.DType, is_separable: bool
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of some epochs of a single tile, which returns what each of them leaves.

    Where an epoch takes a fraction of a millisecond, calling a graph takes as long.
    """

    def epochs(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        extent: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        firsts: tf.Tensor,
        seconds: tf.Tensor,
    ) -> list[tf.Tensor]:
        rows, n_epochs = DenseRows(values, norms), tf.shape(firsts)[0]
        sphere = Sphere(center, scale) if kind.metric.is_spherical else None

        def epoch(n: tf.Tensor, codebook: tf.Tensor, results: list[tf.TensorArray]) -> tuple:
            terms = make_terms(codebook, extent, kind)
            found = nearest_in_graph(rows, terms)
            sums, counts, error = sum_by_unit(values, weights, *found, terms.n_units, kind)
            moved = update(codebook, sums, counts, (firsts[n], seconds[n]), sphere)
            moved = tf.ensure_shape(moved, [None, None, None])
            measured = tf.stack([error, root_mean_square_move(moved, codebook)])
            leaves = moved, sums, counts, measured
            written = [array.write(n, x) for array, x in zip(results, leaves, strict=True)]
            return n + 1, moved, written

        shapes = [None, None, None], [None, None], [None, None], [2]
        results = [tf.TensorArray(tf.float64, n_epochs, element_shape=shape) for shape in shapes]
        *_, results = tf.while_loop(lambda n, *_: n < n_epochs, epoch, (0, codebook, results))
        return [array.stack() for array in results]

    signature = [tf.TensorSpec([None, None], dtype), VECTOR, VECTOR, GRID_MATRIX, SCALAR]
    signature += [VECTOR, SCALAR]
    signature += [
        tf.TensorSpec([None, *spec.shape], spec.dtype) for spec in kernel_specs(is_separable)
    ]
    return tf.function(epochs, input_signature=signature, autograph=False)
