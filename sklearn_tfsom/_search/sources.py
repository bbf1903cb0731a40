"""Samples to learn from: searched, and summed up by best-matching unit.

Everything here is in the scaled space, with codebooks on their grid: (n_rows, n_columns,
n_features). A `Source` reduces over the pieces of the samples in each epoch; a `LoadedSource`
scales the samples and keeps them, in the form that the search takes.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.dense import DenseRows, load
from sklearn_tfsom._data.pieces import Piece, Pieces, combined
from sklearn_tfsom._data.scaling import Scaling
from sklearn_tfsom._data.sparse import SparseRows, load_sparse
from sklearn_tfsom._data.statistics import Nearest, Statistics
from sklearn_tfsom._data.sums import sums_and_counts
from sklearn_tfsom._data.tiles import map_tiles, row_slices
from sklearn_tfsom._map.scores import SearchKind, Target
from sklearn_tfsom._search.nearest import nearest, search_kind, suits_numpy, tile_rows
from sklearn_tfsom._tf.runtime import tensorflow_core
from sklearn_tfsom._tuning import (
    CHUNK_ROWS,
    MAX_OUT_OF_CORE_FEATURES,
    MIN_CHUNKED_SCORES,
    PIECE_VALUES,
    PREPARED_VALUES,
)


class Search(NamedTuple):
    """How the samples of a piece are searched."""

    scaling: Scaling
    extents: NDArray[np.float64]  # see `Target`
    n_tile: int | None  # rows of a tile of a graph; None to search in NumPy


class LoadedRows(NamedTuple):
    """Some of the samples, scaled."""

    rows: DenseRows | SparseRows
    on_cpu: DenseRows | SparseRows  # the same rows on the CPU
    weights: NDArray[np.float64]  # (n,)
    device: str  # where the rows are, and are searched; empty for the CPU


class Source:
    """Samples to learn from, read piece by piece in each epoch.

    Parameters
    ----------
    pieces : Pieces
    scaling : Scaling
    extents : ndarray of shape (n_features,), default=None
        Sizes of the values that code vectors are rounded means of, by default those of a codebook
        that is trained in this space.
    """

    def __init__(
        self,
        pieces: Pieces,
        scaling: Scaling,
        extents: NDArray[np.float64] | None = None,
    ) -> None:
        self.pieces, self.scaling = pieces, scaling
        self.extents = scaling.training_extents() if extents is None else extents

    def statistics(
        self, codebook: NDArray[np.float64], n_epochs: int = 1, name: str = ""
    ) -> Statistics:
        """Search all samples and sum them up by best-matching unit.

        Parameters
        ----------
        codebook : ndarray of float64, shape (n_rows, n_columns, n_features)
        n_epochs : int, default=1
            How often codebooks of this size are going to be searched, with this one.
        name : str, default=""
            What an engine calls this pass over the samples.
        """
        pieces, n_tile = self.pieces, None
        kind = search_kind(pieces.samples, codebook)
        n_searched = pieces.n_searched_here * n_epochs
        in_numpy = suits_numpy(n_searched, codebook, kind) or pieces.samples.is_sparse
        # Each process of an engine would import TensorFlow, half a gigabyte.
        is_light = kind.metric.is_product and not kind.is_pruned
        in_numpy = in_numpy or (pieces.are_distant and is_light)
        if pieces.workers.has_accelerators or not in_numpy:
            n_tile = tile_rows(int(np.prod(codebook.shape[:2])), codebook.shape[2])
            if not pieces.are_distant:
                tensorflow_core()  # in this thread, which sees whether it is importing it already
        return self._reduce(codebook, Search(self.scaling, self.extents, n_tile), name)

    def _reduce(self, codebook: NDArray[np.float64], search: Search, name: str) -> Statistics:
        return self.pieces.reduce(
            statistics_of, codebook, search, piece_values=PIECE_VALUES, name=name
        )


class LoadedSource(Source):
    """Samples to learn from, scaled, in the memory of one process."""

    _in_numpy = False  # whether the parts are loaded for products in NumPy
    _kept: list[LoadedRows] | None = None

    def _loaded(self, search: Search) -> list[LoadedRows]:
        """Return the samples, scaled, in the form that a search takes; one form is kept."""
        samples = self.pieces.samples
        in_numpy = search.n_tile is None and samples.metric.is_product and not samples.is_sparse
        if self._kept is None or in_numpy != self._in_numpy:
            devices, self._kept = self.pieces.workers.devices or ("",), None
            bounds = np.linspace(0, len(samples), len(devices) + 1).astype(int).tolist()
            slices = itertools.starmap(slice, itertools.pairwise(bounds))
            parts = [
                _load_rows(self.pieces, search, rows, device)
                for rows, device in zip(slices, devices, strict=True)
            ]
            if in_numpy and math.prod(samples.shape) <= PREPARED_VALUES:
                parts = [_prepared(loaded, samples.has_missing) for loaded in parts]
            self._in_numpy, self._kept = in_numpy, parts
        return self._kept

    def _reduce(self, codebook: NDArray[np.float64], search: Search, name: str) -> Statistics:
        parts, kind = self._loaded(search), search_kind(self.pieces.samples, codebook)
        results = map_tiles(lambda loaded: _search_and_sum(loaded, codebook, kind, search), parts)
        return self.pieces.all_reduce(_total(results))


def make_source(
    pieces: Pieces, scaling: Scaling, extents: NDArray[np.float64] | None = None
) -> Source:
    """Make the source of some samples: loaded into memory, unless there are too many."""
    source_type = Source if is_out_of_core(pieces) else LoadedSource
    return source_type(pieces, scaling, extents)


def is_out_of_core(pieces: Pieces) -> bool:
    """Return True if samples are read again in each epoch, rather than loaded once.

    Samples in memory that are divided over devices are always loaded.
    """
    samples = pieces.samples
    is_narrow = samples.shape[1] <= MAX_OUT_OF_CORE_FEATURES and not samples.is_sparse
    is_read_in_tiles = samples.are_many and is_narrow and not pieces.workers.devices
    return pieces.are_distant or samples.is_on_disk or is_read_in_tiles


def statistics_of(piece: Piece, codebook: NDArray[np.float64], search: Search) -> Statistics:
    """Search the samples of a piece and sum them up by best-matching unit."""
    loaded = _load_rows(Pieces(*piece), search, slice(None))
    return _search_and_sum(loaded, codebook, search_kind(piece.samples, codebook), search)


def _search_and_sum(
    loaded: LoadedRows, codebook: NDArray[np.float64], kind: SearchKind, search: Search
) -> Statistics:
    """Search rows and sum them up by best-matching unit, in chunks."""
    rows, rows_on_cpu, weights, device = loaded
    *shape, n_features = codebook.shape
    n_rows, n_units = weights.shape[0], math.prod(shape)
    if not n_rows:
        return Statistics.nothing(n_units, n_features, kind.has_missing)
    target = Target(kind, codebook, np.zeros(n_features), search.extents)

    def of_chunk(chunk: slice) -> Statistics:
        part = rows.take(chunk)
        on_cpu = rows_on_cpu.take(chunk) if device else part
        # The device is that of a thread.
        with tensorflow_core().on_device(device) if device else contextlib.nullcontext():
            found = nearest(
                part, target, on_cpu=on_cpu, needs_distances=True, n_tile=search.n_tile
            )
        return _sum_by_unit(on_cpu, weights[chunk], found, target)

    n_chunk = n_rows
    if search.n_tile is not None or isinstance(rows, SparseRows):
        # Two chunks at a time, so that one sums up while the other is searched; of equal size.
        n_tile = search.n_tile or tile_rows(n_units, n_features)
        n_pairs = -(-n_rows // (2 * CHUNK_ROWS))
        n_chunks = 1 if n_rows * n_units < MIN_CHUNKED_SCORES else 2 * n_pairs
        n_chunk = n_tile * -(-n_rows // (n_chunks * n_tile))
    return _total(map_tiles(of_chunk, row_slices(n_rows, n_chunk)))


def _sum_by_unit(
    rows: DenseRows | SparseRows,
    weights: NDArray[np.float64],
    found: Nearest,
    target: Target,
) -> Statistics:
    """Sum rows by their best-matching units, in float64."""
    values = rows if isinstance(rows, SparseRows) else np.asarray(rows.values)
    n_units = math.prod(target.codebook.shape[:2])
    by_unit = weights, found.units[:, 0], n_units, target.kind.has_missing
    sums, counts = sums_and_counts(values, *by_unit)
    with np.errstate(over="ignore", under="ignore"):  # checked where sums have been added
        return Statistics(sums, counts, np.asarray(np.sum(weights * found.distances)))


def _prepared(loaded: LoadedRows, has_missing: bool) -> LoadedRows:
    """Return loaded rows with the factors of their products in NumPy."""
    rows = loaded.rows
    if isinstance(rows, SparseRows) or rows.factors32 is not None:
        return loaded
    return loaded._replace(rows=rows.for_products(has_missing))


def _load_rows(pieces: Pieces, search: Search, rows: slice, device: str = "") -> LoadedRows:
    """Scale some of the samples; as tensors on a device if one is named."""
    samples, scaling, weights = pieces.samples, search.scaling, pieces.sample_weight[rows]
    if samples.is_sparse:
        sparse = load_sparse(samples.take(rows), scaling.scale, samples.dtype)
        return LoadedRows(sparse, sparse, weights, device)
    in_numpy = search.n_tile is None and not device
    dense = load(samples, rows, scaling, samples.dtype, in_numpy=in_numpy)
    if not device:
        return LoadedRows(dense, dense, weights, device)
    rows_there = tensorflow_core().place((dense.values, dense.norms), device)
    return LoadedRows(DenseRows(*rows_there), dense, weights, device)


def _total(parts: Generator[Statistics]) -> Statistics:
    with contextlib.closing(parts):  # its threads end also if an error comes in between
        return functools.reduce(functools.partial(combined, np.add), parts)
