"""The estimator: parameters, docstrings, and the order of the steps of each method."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_tfsom import _validation as valid
from sklearn_tfsom._assignment import assign
from sklearn_tfsom._checkpoint import Checkpoint, check_directory
from sklearn_tfsom._compat import CallbackSupportMixin, with_callbacks
from sklearn_tfsom._data.checks import (
    check_codebook_names,
    check_sample_weight,
    check_samples,
    check_training_data,
)
from sklearn_tfsom._data.foreign import feature_names
from sklearn_tfsom._data.partitions import Engine, check_partitions
from sklearn_tfsom._data.pieces import ALONE, Pieces, Workers
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import in_precision
from sklearn_tfsom._data.tiles import tile_threads
from sklearn_tfsom._distance import METRICS, metric_of
from sklearn_tfsom._fitted import (
    set_codebook,
    set_fitted,
    set_learned,
    warn_of_few_clusters,
    warn_of_unsettled_map,
)
from sklearn_tfsom._map.anomaly import anomaly_score
from sklearn_tfsom._map.grid import grid_of
from sklearn_tfsom._map.imputation import expected_values, variances_of
from sklearn_tfsom._map.schedules import n_epochs_to_end
from sklearn_tfsom._parameters import NO_BATCHES, RULES, checked_codebook, checksums, known_error
from sklearn_tfsom._plan import TrainingPlan, make_plan
from sklearn_tfsom._search.distances import distances_to_chosen, distances_to_units
from sklearn_tfsom._search.inference import nearest_units
from sklearn_tfsom._stream import learn_stream
from sklearn_tfsom._tf.runtime import has_strategy, tensorflow_core
from sklearn_tfsom._training import record, train


class TFSOM(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Self-organizing map (SOM), trained in batches with TensorFlow or NumPy.

    A map is a grid of units, each with a code vector in data space. In every epoch each sample is
    assigned to the unit with the closest code vector, its best-matching unit (BMU), and each code
    vector becomes the mean of the samples of all units, weighted by the neighborhood h of the
    grid distance to them [1]_ [2]_::

        w_k = sum_j h(d(k, j)^2, radius) s_j / sum_j h(d(k, j)^2, radius) n_j

    where s_j and n_j are the weighted sum and the total weight of the samples of unit j. Units
    that are close on the grid thus become close in data space.

    Read more in the :ref:`User Guide <guide_learning>`.

    Parameters
    ----------
    grid_size : int, tuple (n_rows, n_columns) or "auto", default="auto"
        Size of the map; an int makes it square. "auto" takes about ``5 sqrt(n)`` units for a
        total weight n of the samples, but no more than there are different samples. The ratio of
        its sides is that of the standard deviations along the two largest principal components,
        as in SOM Toolbox [3]_.

    lattice : {"hexagonal", "rectangular"}, default="hexagonal"
        Positions of the units. On a hexagonal lattice odd rows are shifted by half a lattice
        spacing, and each inner unit has six neighbors at distance 1.

    boundary : {"planar", "cylindrical", "toroidal"}, default="planar"
        "cylindrical" joins the left edge of the map to the right one, "toroidal" also the top to
        the bottom, unless there is a single row. A hexagonal torus with an odd number of rows, 3
        or more, is joined with a shift of half a lattice spacing, so that each unit has six
        neighbors.

    neighborhood : {"gaussian", "cut_gaussian", "bubble", "epanechnikov", "mexican_hat", \
            "triangle"} or callable, default="gaussian"
        Weight of the samples of one unit for another, a function of their squared grid distance
        and the radius; :ref:`their formulas <guide_neighborhoods>`. A callable
        ``h(squared_distances, radius)`` gets an array and returns one of the same shape.

    metric : {"euclidean", "cosine", "correlation", "manhattan", "chebyshev"}, default="euclidean"
        Distance between samples and code vectors, in data units, or ``1 - cos`` under "cosine" and
        "correlation"; for the search, for `transform` and for all measures except
        `separation_curve` and `log_likelihood`; :ref:`their formulas <guide_metrics>`.

    init : {"pca", "sample", "random"} or array-like of shape (n_units, n_features), \
            default="pca"
        Codebook before training. "pca" spreads the grid over the plane of the two largest
        principal components, one standard deviation to each side, without randomness. "sample"
        draws samples, "random" draws uniformly from the box that contains the data. A data frame
        must have the columns of `X`, in their order, if that has names.

    max_iter : int, default=20
        Largest number of epochs.

    radius_start : float or "auto", default="auto"
        Radius of the neighborhood in the first epoch, in lattice spacings. "auto" is a sixth of
        the longer side of the map with ``init="pca"`` and half of it otherwise, but at least 1;
        for neighborhoods other than "gaussian" it is in proportion to their automatic
        `radius_end`. It is never less than `radius_end`: a smaller number is an error. It has no
        effect with ``max_iter=1``.

    radius_end : float or "auto", default="auto"
        Radius of the last epochs, or of the only one, in lattice spacings. "auto" is 0.85 for
        "gaussian" and for functions, 1 for "cut_gaussian", "bubble" and "mexican_hat", 1.5 for
        "epanechnikov" and 2 for "triangle", but at most a given `radius_start`. A smaller radius
        gives a lower quantization error and a map with more folds.

    radius_decay : {"exponential", "linear"} or array-like of shape (max_iter,), \
            default="exponential"
        Decrease of the radius from `radius_start` to `radius_end` over the first four fifths of
        `max_iter` epochs, after which it is constant. An array gives the radius of each epoch.

    coarse_to_fine : bool, default=True
        Whether to train coarser grids on subsamples while the radius is large, which is faster
        for large data or maps, and to choose between several maps, see the Notes. Only for the
        Gaussian neighborhood with ``init="pca"``, without mini-batches, and not on a hexagonal
        torus with an odd number of rows, 3 or more. False is the batch algorithm as defined above.

    tol : float, default=1e-4
        Training stops when the radius has reached its end and the root mean square shift of the
        code vectors in an epoch is at most `tol` times the root mean square distance of the
        samples to their mean; if values are missing, `tol` times the square root of the sum of
        the features' variances.

    batch_size : int or None, default=None
        Total weight of a mini-batch. None updates the map once per epoch, from all samples, as
        does a total weight of the samples of at most `batch_size`. With mini-batches, the same in
        each epoch, older statistics decay; five epochs then reach about the quantization error of
        twenty if there are 10,000 samples or more.

    n_clusters : int, "auto" or None, default=None
        Number of clusters that are searched for after training, by Euclidean distances (of
        directions under "cosine" and "correlation"); each unit belongs to one of them [4]_, so it
        is at most the number of units. None makes every unit a cluster. "auto" chooses the number,
        up to 20, whose clusters are separated best, where equal samples count as one point;
        :ref:`guide_clustering` states how often it was correct.

    features : {"distances", "coordinates", "activations"}, default="distances"
        Output of `transform`: the distances to all units, in data units; the position of the
        best-matching unit, in lattice spacings; or activations ``exp(-d^2 / (2 q^2))`` of all
        units, for the distance d and the quantization error q of the training data.

    anomaly_score : {"isolation", "u_height", "distance"}, default="isolation"
        Score that `score_samples` returns with a negative sign. "distance": the distance to the
        best-matching unit. "u_height": this distance plus the value of the unit on the U-matrix.
        "isolation": a fourth of this distance plus the mean distance, weighted by hits, of the
        unit to the nearest units that hold a tenth of the samples, of which the unit itself is the
        first. Use "distance" if all training samples are normal; the others also find anomalies in
        the training data.

    compute_topographic_error : bool, default=False
        Whether `history_` contains the topographic error after each epoch. It takes a search of
        its own, for two best-matching units.

    checkpoint_dir : path-like or None, default=None
        Directory of a file that is replaced after each epoch but the last, and removed at the end
        of `fit`. If `fit` is interrupted and called again with the same parameters and samples, it
        resumes there, to the same bits. With ``init="sample"`` and ``init="random"`` this needs an
        int as `random_state`.

    random_state : int, RandomState instance or None, default=None
        Used by ``init="sample"`` and ``init="random"`` only.

    verbose : int, default=0
        If above 0, each epoch prints a line; of `partial_fit`, each mini-batch.

    Attributes
    ----------
    codebook_ : ndarray of shape (n_units, n_features)
        Code vectors, in data units; under "cosine" and "correlation" of length 1. Units are
        row-major: unit k is in row ``k // n_columns`` and column ``k % n_columns``.

    labels_ : ndarray of int64, shape (n_samples,)
        Cluster of each sample: its best-matching unit if `n_clusters` is None. After
        `partial_fit`, of the samples of the last call. Not set after `from_codebook` without X,
        or after a fit with data in Dask, Ray or Spark.

    cluster_labels_ : ndarray of int64, shape (n_units,)
        Cluster of each unit.

    grid_shape_ : tuple (n_rows, n_columns)
        Size of the map.

    unit_positions_ : ndarray of float64, shape (n_units, 2)
        Position (x, y) of each unit on the map, in lattice spacings.

    hits_ : ndarray of float64, shape (n_units,)
        Total weight of the samples of each unit. After `partial_fit`, decayed.

    quantization_error_ : float
        Weighted mean distance of the samples to their best-matching units, in data units. After
        `partial_fit`, over the samples that are remembered, before each was learned. NaN after
        `from_codebook` without X.

    history_ : dict of str to ndarray of float64, shape (`n_iter_`,)
        "radius" of each epoch, in lattice spacings, and "quantization_error" of the codebook that
        the epoch began with, on its grid and subsample, in data units (of float32 and sparse
        samples good to 1e-5 on most data); with `batch_size`, of the codebooks before the
        mini-batches. With `compute_topographic_error` also "topographic_error" of the map after
        the epoch. All are without samples that have no direction. After `partial_fit` "radius" and
        "quantization_error" of each mini-batch in the last call that learned something.

    n_iter_ : int
        Number of epochs; after `partial_fit`, of mini-batches in the last call that learned
        something.

    n_samples_seen_ : float
        Total weight of the samples learned, in `fit` or in all calls of `partial_fit`.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of str, shape (`n_features_in_`,)
        Names of the features, if all names of `X` are strings.

    See Also
    --------
    sklearn.cluster.KMeans : Clusters without a grid, which have no neighbors.
    sklearn_tfsom.metrics : Quality measures.
    sklearn_tfsom.displays : Displays of a map.

    Notes
    -----
    **Complexity.** An epoch takes O(n_samples n_units n_features) operations for the search, and
    O(n_units (n_rows + n_columns) n_features) for the update with a Gaussian neighborhood;
    O(n_units^2 n_features) with another one, and on a hexagonal torus with an odd number of rows,
    3 or more.
    In addition to the data, `fit` needs memory for a scaled copy of the samples. Samples on disk
    (64 MiB or more), and dense ones of at least 2^25 values and at most 128 features, are copied
    in parts of 2^23 values (32 MiB in float32).

    **Precision.** float32 input gives float32 output, everything else float64. Best-matching
    units are those of a search in float64; among units that are equally close within rounding
    the lowest index wins. Under "euclidean" the direction of a sample decides where its distance
    to the map exceeds sixteen times the map's extent, also if its distances in float64 are equal.

    **Metrics.** Under "cosine" and "correlation" samples and code vectors are unit vectors, and
    the formula above is divided by its length, which minimizes the sum of ``h (1 - cos)`` as the
    mean does that of squared distances. Samples without a direction (zeros, or equal values)
    take no part in training; their distance to every unit is 1, so their best-matching unit is
    unit 0. Under the other metrics code vectors are means, which minimize the sum of squared
    Euclidean distances only.

    **Missing values** (NaN) are allowed under most metrics. Distances are over the known features
    of a sample, and not scaled up for the others; s_j and n_j are sums over the known values of
    each feature. Sparse data cannot contain missing values.

    **Empty units.** A unit without samples becomes the mean of its neighborhood; a unit that no
    sample reaches through the neighborhood keeps its code vector. "mexican_hat" has negative
    values: the ratio above is then not always a mean, and code vectors can leave the data. It is
    meant for comparisons only.

    **Coarse to fine.** While the radius is large, a coarser grid is enough. So is a subsample of
    ``max(16000, 48 n_units)`` different samples, if the data have more than twice as many;
    :ref:`guide_coarse_to_fine` states the gain in speed. On planar hexagonal maps of up to 1,024
    units with two rows and columns or more, three maps are trained to the end on up to 4,000
    samples, and the best one is kept: the map, one from twice the radius (if `radius_start` is
    "auto") and the map from the other sign of a principal component, which is arbitrary. This is
    not done under :ref:`elementwise metrics <guide_metrics>` or with an array as `radius_decay`.

    The batch map approximates the minimization of an energy, see [5]_ and [6]_.

    References
    ----------
    .. [1] Kohonen (2001): Self-Organizing Maps, 3rd edition, Springer.
    .. [2] Kohonen (2013): Essentials of the self-organizing map. Neural Networks 37, 52-65.
    .. [3] Vesanto, Himberg, Alhoniemi, Parhankangas (2000): SOM Toolbox for Matlab 5, report A57,
       Helsinki University of Technology.
    .. [4] Vesanto, Alhoniemi (2000): Clustering of the self-organizing map. IEEE Transactions on
       Neural Networks 11 (3), 586-600.
    .. [5] Ritter, Schulten (1988): Convergence properties of Kohonen's topology conserving maps.
       Biological Cybernetics 60, 59-71.
    .. [6] Cheng (1997): Convergence and ordering of Kohonen's batch map. Neural Computation 9 (8),
       1667-1676.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> som.codebook_.shape
    (40, 4)
    >>> som.predict(X).shape
    (150,)
    >>> som.quantization_error_ < 0.4
    True
    """

    _doc_link_module = "sklearn_tfsom"
    _doc_link_template = (
        "https://sklearn-tfsom.readthedocs.io/en/stable/{estimator_module}.{estimator_name}.html"
    )

    def __init__(
        self,
        grid_size: Any = "auto",
        *,
        lattice: str = "hexagonal",
        boundary: str = "planar",
        neighborhood: Any = "gaussian",
        metric: str = "euclidean",
        init: Any = "pca",
        max_iter: int = 20,
        radius_start: Any = "auto",
        radius_end: Any = "auto",
        radius_decay: Any = "exponential",
        coarse_to_fine: bool = True,
        tol: float = 1e-4,
        batch_size: Any = None,
        n_clusters: Any = None,
        features: str = "distances",
        anomaly_score: str = "isolation",
        compute_topographic_error: bool = False,
        checkpoint_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.grid_size = grid_size
        self.lattice = lattice
        self.boundary = boundary
        self.neighborhood = neighborhood
        self.metric = metric
        self.init = init
        self.max_iter = max_iter
        self.radius_start = radius_start
        self.radius_end = radius_end
        self.radius_decay = radius_decay
        self.coarse_to_fine = coarse_to_fine
        self.tol = tol
        self.batch_size = batch_size
        self.n_clusters = n_clusters
        self.features = features
        self.anomaly_score = anomaly_score
        self.compute_topographic_error = compute_topographic_error
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a saved map, with defaults for parameters and attributes that it lacks.

        Before `anomaly_score` there was one score only, the distance.
        """
        defaults = TFSOM(anomaly_score="distance").get_params(deep=False)
        if "codebook_" in state:
            defaults |= {
                "_counted_hits": state["hits_"],
                "_has_clusters": state["n_clusters"] is not None,
                "_is_trained": not state["_is_from_stream"],
                "_residuals": None,
            }
        super().__setstate__({**defaults, **state})

    @valid.unchanged_on_error
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> TFSOM:
        """Train the map.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing. A sparse matrix is never made dense; a memory
            map of 64 MiB or more is read piece by piece in each epoch and never copied.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight k counts a sample k times, weight 0 removes it. None is 1 for each sample.

        Returns
        -------
        self : TFSOM
            The fitted map.

        Raises
        ------
        InvalidParameterError
            If a parameter is not valid. The estimator stays as it was.
        ValueError
            If the data or the weights are not valid (infinite, of other shapes, without any value
            in a sample or a feature, without a direction where that is compared), if both the
            number and the total weight of the samples are less than `n_clusters`, or if the
            weights are too large for mini-batches of `batch_size` (:ref:`guide_weights`).
        RuntimeError
            If another worker fails (:ref:`guide_fault_tolerance`). The estimator stays as it was.

        Warns
        -----
        ConvergenceWarning
            If samples fall in fewer clusters than `n_clusters`; or if `max_iter` leaves no epoch
            after the radius has reached its end, unless the last shift is at most `tol` or
            `radius_decay` is an array.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> som = TFSOM(grid_size=(8, 5)).fit(load_iris().data)
        >>> som.labels_.shape
        (150,)
        >>> [round(float(radius), 2) for radius in som.history_["radius"][:3]]
        [1.33, 1.29, 1.26]
        """
        workers = self._check_parameters()
        metric = METRICS[self.metric]
        pieces, counted = check_training_data(self, X, sample_weight, metric, workers)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        given = {"X": X, "y": y, "metadata": metadata}
        return self._fit_pieces(pieces, counted, given)

    @classmethod
    def from_codebook(
        cls,
        codebook: ArrayLike,
        *,
        grid_size: Any,
        X: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        **parameters: Any,
    ) -> TFSOM:
        """Make a fitted map from a codebook that was trained elsewhere.

        Read more in the :ref:`User Guide <guide_from_codebook>`.

        Parameters
        ----------
        codebook : array-like of shape (n_units, n_features)
            Code vectors of the units, row by row. A data frame also gives the names of the
            features. They must equal those of `X`, if `X` has names. float32 stays float32.

        grid_size : int or tuple (n_rows, n_columns)
            Size of the grid.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples from which `hits_`, `labels_` and `quantization_error_` are computed, and
            clusters.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample of `X`; None is 1 for each.

        **parameters
            Other parameters of the map: `lattice`, `boundary`, `neighborhood` and `metric` that it
            was trained with, `n_clusters`, `features`.

        Returns
        -------
        som : TFSOM
            A map as after `fit`, with an empty history. Without `X` it has no `labels_`, each unit
            counts as one sample, and `quantization_error_`, which the features "activations" need,
            is NaN.

        Raises
        ------
        InvalidParameterError
            If a parameter is not valid, or the codebook does not fit the grid.
        ValueError
            If `X` or the weights are not valid, or `X` has other features, or weights are given
            without `X`.

        Warns
        -----
        ConvergenceWarning
            If the samples of `X` fall in fewer clusters than `n_clusters`.

        Examples
        --------
        Restore a map from its codebook:

        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> codebook = TFSOM((8, 5)).fit(X).codebook_
        >>> som = TFSOM.from_codebook(codebook, grid_size=(8, 5), X=X)
        >>> som.transform(X).shape, float(som.hits_.sum())
        ((150, 40), 150.0)
        """
        som = cls(grid_size, **parameters)
        grid, array = checked_codebook(som, codebook)
        pieces, counted, is_frame = None, None, hasattr(codebook, "columns")
        if is_frame or X is None:
            validate_data(som, codebook if is_frame else array, skip_check_array=True)
        if X is not None:
            check_codebook_names("codebook", som, codebook, feature_names(X, "X"))
            metric, reset = METRICS[som.metric], not hasattr(som, "feature_names_in_")
            pieces, counted = check_training_data(
                som, X, sample_weight, metric, reset=reset, begins=False
            )
            if som.n_features_in_ != array.shape[1]:
                raise ValueError(
                    f"X must have as many features as codebook, {array.shape[1]}. Got "
                    f"{som.n_features_in_} instead."
                )
        elif sample_weight is not None:
            raise ValueError(
                "from_codebook needs X if sample_weight is given. Got X=None instead."
            )
        with np.errstate(under="ignore"):
            set_codebook(som, grid, array, pieces, counted)
        # The line that called this method:
        warn_of_few_clusters(som, som.n_clusters, stacklevel=3)
        return som

    @valid.unchanged_on_error
    def _fit_partitions(self, make_engine: Callable[[], Engine]) -> TFSOM:
        """Train the map on the partitions of an engine, as `fit` on all of their samples."""
        valid.check_parameters(self, RULES)
        valid.check_value("batch_size", self, self.batch_size, [NO_BATCHES])
        check_directory(self)
        # Not before: some engines read a sample as they are made.
        pieces, counted = check_partitions(self, make_engine(), METRICS[self.metric])
        return self._fit_pieces(pieces, counted, {})

    def _fit_pieces(self, pieces: Pieces, counted: Pieces, given: dict[str, Any]) -> TFSOM:
        """Train the map on checked samples, of which some are counted; see `fit`.

        Callbacks get the arguments `given` to `fit`.
        """
        with np.errstate(under="ignore"):  # weights far away, and small values in float32
            with tile_threads:
                plan = make_plan(self, counted)
            checkpoint = Checkpoint(self, plan)
            self._train(plan, pieces, checkpoint, given)
        checkpoint.remove()  # at last: an error of a callback's `teardown` keeps the epochs
        return self

    @with_callbacks
    def _train(
        self, plan: TrainingPlan, pieces: Pieces, checkpoint: Checkpoint, given: dict[str, Any]
    ) -> None:
        """Run the epochs of a plan that a checkpoint lacks, and set the fitted attributes."""
        names = ["radius", "quantization_error"]
        names += ["topographic_error"] if self.compute_topographic_error else []
        if pieces.are_distant:  # the maps that callbacks get have no labels, nor former ones
            self.__dict__.pop("labels_", None)
        callbacks = self._init_callback_context(max_subtasks=len(plan.radii))
        callbacks.call_on_fit_task_begin(estimator=self, **given)
        n_done, history, state = checkpoint.read(names)
        n_falling = n_epochs_to_end(plan.radii)
        for _ in range(n_done):  # epochs of a resumed fit keep their numbers
            callbacks.subcontext(task_name="epoch")
        with contextlib.closing(train(plan, n_done, state)) as run:
            for _ in range(n_done, len(plan.radii)):
                task = callbacks.subcontext(task_name="epoch")
                task.call_on_fit_task_begin(estimator=self, **given)
                epoch = next(run)
                record(plan, epoch, history, bool(self.verbose))
                is_stopped = task.call_on_fit_task_end(
                    estimator=self,
                    **given,
                    reconstruction_attributes=lambda epoch=epoch: vars(
                        set_fitted(copy.copy(self), plan, pieces.own, epoch, history)
                    ),
                )
                has_settled = epoch.shift <= plan.tol * plan.moments.spread
                is_stopped, has_settled = pieces.workers.sum([is_stopped, has_settled]) > 0
                if is_stopped or (epoch.n_epochs >= n_falling and has_settled):
                    break
                if epoch.n_epochs < len(plan.radii):  # an interrupted end repeats the last epoch
                    checkpoint.write(history, epoch.following)
        set_fitted(self, plan, pieces, epoch, history)
        caller = 8 if pieces.are_distant else 7  # the line that called fit, here or of an engine
        warn_of_few_clusters(self, plan.n_clusters, stacklevel=caller)
        if not has_settled:
            warn_of_unsettled_map(plan, epoch, stacklevel=caller)
        callbacks.call_on_fit_task_end(
            estimator=self, **given, reconstruction_attributes=lambda: {}
        )

    @valid.unchanged_on_error
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> TFSOM:
        """Learn more samples, of a stream.

        If the map is not fitted, the first call makes it from its samples, or from an array given
        as `init`. Set `grid_size` then: "auto" depends on the first samples only. A map from `fit`
        goes on learning. A fitted map keeps its grid and its metric, whatever parameters are set
        later. Read more in the :ref:`User Guide <guide_streams>`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight k counts a sample k times, weight 0 removes it. None is 1 for each sample.

        Returns
        -------
        self : TFSOM
            The map. `labels_`, `history_` and `n_iter_` are those of this call, but see the Notes;
            `hits_` and `quantization_error_` are those of the samples that are remembered.

        Raises
        ------
        InvalidParameterError
            If a parameter is not valid. The estimator stays as it was.
        ValueError
            If the data or the weights are not valid for `fit` (but there may be fewer samples than
            clusters, and all weights may be 0 once the map has begun), if a feature has no value
            in the first samples, if the weights sum to more than 10^6 and more than 100 times the
            number of samples, or in the scope of a strategy with several workers.

        Warns
        -----
        ConvergenceWarning
            If samples fall in fewer clusters than `n_clusters`.

        Notes
        -----
        Samples are learned in their order, in mini-batches. Their size is a twentieth of the
        samples seen, but at least 4, and at most 1,024 or a fourth of the number of units,
        whichever is more. The last one of a call also takes a rest of less than half this size; a
        call with fewer samples is one mini-batch. So the size of the pieces of a stream hardly
        matters, but their order does: shuffle sorted data.

        With `n_clusters` each call clusters the units again, which takes longer than to learn a
        few samples. For many small pieces cluster at the end: set `n_clusters` before the last
        call.

        If all code vectors are equal, as after equal samples, no search tells the units apart. The
        code vectors are then laid on the plane of the next mini-batch in which every feature has a
        value, as at the beginning of a stream.

        With each mini-batch of total weight b the statistics s_j and n_j decay by ``exp(-b / M)``.
        The memory M is a weight of 500 samples, or 5 for each unit if that is more; at first it is
        less, 0.3 of the samples seen. The radius decreases from `radius_start` ("auto" as in
        `fit`, but a fourth instead of a sixth of the longer side) to `radius_end` over the first
        100 samples, or 0.6 for each unit if that is more. An array as `radius_decay`, here of any
        length, has its values reached at equal steps. A map from `fit` or `from_codebook` is
        trained at the last of these radii only. A call without a sample of positive weight that
        has a direction (see the Notes of the class) learns nothing: it changes `labels_` only.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_tfsom import TFSOM
        >>> som = TFSOM(grid_size=8)
        >>> for seed in range(40):
        ...     piece = np.random.RandomState(seed).uniform(size=(50, 2))
        ...     som = som.partial_fit(piece)
        >>> som.n_samples_seen_
        2000.0
        >>> som.quantization_error_ < 0.06
        True
        """
        if _ambient_workers().are_several:
            raise ValueError(
                "partial_fit learns on one worker only: several would each learn a map of their "
                "own. Call it outside of the strategy's scope, or call fit."
            )
        valid.check_parameters(self, RULES)
        if hasattr(self, "codebook_"):
            samples = self._check_data(X)
            weights = check_sample_weight(sample_weight, len(samples), are_all=False)
            pieces = Pieces(samples, weights)
        else:
            metric = METRICS[self.metric]
            pieces, _ = check_training_data(self, X, sample_weight, metric)
        with tile_threads, np.errstate(under="ignore"):
            learned = learn_stream(self, pieces)
        if learned is None:
            self.labels_ = self.cluster_labels_[self._nearest(pieces.samples)[:, 0]]
            return self
        set_learned(self, pieces.samples, learned)
        # The line that called partial_fit:
        warn_of_few_clusters(self, self.n_clusters, stacklevel=4)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Find the cluster of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        Returns
        -------
        labels : ndarray of int64, shape (n_samples,)
            Index of the best-matching unit, or its cluster if `n_clusters` is given.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> som = TFSOM(grid_size=(8, 5), n_clusters=3).fit(X)
        >>> len(set(som.predict(X).tolist()))
        3
        """
        bmus = self.bmus(X)  # first, because it checks that the map is fitted
        return self.cluster_labels_[bmus]

    def transform(self, X: ArrayLike) -> NDArray:
        """Transform samples into the features that the `features` parameter names.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_units) or (n_samples, 2)
            Distances to the units, in data units; coordinates of the best-matching unit, in
            lattice spacings; or activations. float32 if `X` is float32 (distances are then good
            to about 2e-5, with 3,000 features to 1e-4), else float64.

        Raises
        ------
        InvalidParameterError
            If `features` is not a valid name.
        ValueError
            If activations need the quantization error, and it is not known, see `from_codebook`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> som = TFSOM(grid_size=(8, 5)).fit(X)
        >>> som.transform(X).shape
        (150, 40)
        >>> som.set_params(features="coordinates").transform(X).shape
        (150, 2)
        """
        samples = self._check_data(X)
        self._check_features()
        if self.features == "coordinates":
            bmus = self._nearest(samples)[:, 0]
            return self.unit_positions_[bmus].astype(samples.dtype)
        distances = distances_to_units(samples, self.codebook_)
        if self.features == "distances":
            return distances
        width = max(self.quantization_error_, float(np.finfo(samples.dtype).tiny))
        with np.errstate(over="ignore", under="ignore"):  # far away the activation is 0
            distances /= samples.dtype.type(width)
            np.square(distances, out=distances)
            distances *= -0.5
            return np.exp(distances, out=distances)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray:
        """Return the names of the features that `transform` computes.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features of the samples. Only checked against those that `fit` saw.

        Returns
        -------
        feature_names_out : ndarray of str objects
            "tfsom0", "tfsom1" and so on.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> TFSOM(grid_size=(2, 1)).fit(load_iris().data).get_feature_names_out().tolist()
        ['tfsom0', 'tfsom1']
        """
        check_is_fitted(self)
        valid.check_value("features", self, self.features, RULES["features"])
        names: NDArray = super().get_feature_names_out(input_features)
        return names

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Compute the negative quantization error: higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the mean.

        Returns
        -------
        score : float
            Minus the weighted mean distance to the best-matching unit, in data units.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> round(TFSOM(grid_size=(8, 5)).fit(X).score(X), 2)
        -0.33
        """
        samples = self._check_data(X)
        pieces = Pieces(samples, check_sample_weight(sample_weight, len(samples)))
        counted = pieces.take_where(pieces.sample_weight > 0)
        return -assign(counted, self.codebook_, grid_of(self)).error

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Compute how normal samples are, by the score that `anomaly_score` names.

        Read more in the :ref:`User Guide <guide_anomalies>`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        Returns
        -------
        scores : ndarray of float32 or float64, shape (n_samples,)
            In data units, in the precision of `X`; the lower, the more abnormal.

        Raises
        ------
        InvalidParameterError
            If `anomaly_score` is not a valid name.

        Notes
        -----
        In addition to the search, "isolation" takes O(n_hit n_units (n_features + log(n_units)))
        operations in each call, for n_hit different units of the samples.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> som = TFSOM(grid_size=(8, 5)).fit(X)
        >>> scores = som.score_samples([X.mean(axis=0), [9.0, 1.0, 1.0, 9.0]])
        >>> bool(scores[0] > scores[1])
        True
        """
        scores, _ = self._anomaly_scores(self._check_data(X))
        return -scores

    def _anomaly_scores(self, samples: Samples) -> tuple[NDArray, NDArray[np.int64]]:
        """Return the anomaly scores of checked samples, and their best-matching units, (n,)."""
        valid.check_value("anomaly_score", self, self.anomaly_score, RULES["anomaly_score"])
        distances, bmus = self._nearest_with_distances(samples)
        return anomaly_score(self, bmus[:, 0]).of(distances[:, 0]), bmus[:, 0]

    def bmus(self, X: ArrayLike, n_bmus: int = 1, return_distance: bool = False) -> Any:
        """Find the best-matching units of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        n_bmus : int, default=1
            Number of units to find for each sample, at most n_units.

        return_distance : bool, default=False
            Whether to return the distances as well, first, as `kneighbors` of scikit-learn does.

        Returns
        -------
        distances : ndarray of shape (n_samples,) or (n_samples, n_bmus)
            Distances to the units found, in data units. Only if `return_distance` is True.

        bmus : ndarray of int64, shape (n_samples,) or (n_samples, n_bmus)
            Unit indices, the closest first; two-dimensional if `n_bmus` is above 1. Among units
            that are equally close within rounding the lowest index comes first.

        Raises
        ------
        InvalidParameterError
            If `n_bmus` is not an int from 1 to n_units.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> som = TFSOM(grid_size=(8, 5)).fit(X)
        >>> distances, bmus = som.bmus(X, n_bmus=2, return_distance=True)
        >>> bmus.shape, bool((distances[:, 0] <= distances[:, 1]).all())
        ((150, 2), True)
        """
        samples = self._check_data(X)
        valid.check_value("n_bmus", self, n_bmus, [valid.integer(1, len(self.codebook_))])
        valid.check_value("return_distance", self, return_distance, [valid.BOOLEAN])
        shape = len(samples) if n_bmus == 1 else (len(samples), int(n_bmus))
        if not return_distance:
            return self._nearest(samples, int(n_bmus)).reshape(shape)
        distances, bmus = self._nearest_with_distances(samples, int(n_bmus))
        return distances.reshape(shape), bmus.reshape(shape)

    def quantize(self, X: ArrayLike) -> NDArray:
        """Replace each sample by the code vector of its best-matching unit.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        Returns
        -------
        X_quantized : ndarray of shape (n_samples, n_features)
            In data units; float32 if `X` is, else float64.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> som = TFSOM(grid_size=(8, 5)).fit(X)
        >>> som.quantize(X).shape
        (150, 4)
        """
        samples = self._check_data(X)
        (bmus,) = self._nearest(samples).T
        return in_precision(self.codebook_[bmus], samples.dtype)

    def impute(self, X: ArrayLike, *, method: str = "expectation") -> NDArray:
        """Replace missing values by their expectation given the known values.

        Read more in the :ref:`User Guide <guide_imputation>`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing. Each has at least one value.

        method : {"expectation", "unit"}, default="expectation"
            "unit" takes the values of the best-matching unit. They are in the range of the
            training data, except after `from_codebook`, with negative weights of the
            neighborhood, and for units that no sample has reached. It is used for metrics other
            than the Euclidean in any case.

        Returns
        -------
        X_imputed : ndarray of shape (n_samples, n_features)
            A copy without missing values, float32 if `X` is, else float64. A sparse matrix, in
            which nothing is missing, is copied.

        Raises
        ------
        InvalidParameterError
            If `method` is not one of these.

        Notes
        -----
        The map is taken as a mixture of Gaussians at its units, of equal weights and of one
        covariance: twice that of the training samples around their units, which lie where the
        samples are, plus a tenth of that of the code vectors, weighted by their hits, with
        variances larger by 1 %. A
        missing value is the mean of the values of the units, weighted by the likelihood of the
        known values, plus the correction that follows from the known values by the covariance.
        This assumes that values are missing at random given the known ones, and understates the
        variance, as every single imputation does.

        The covariance is not stored for more than 1,024 features, by `partial_fit`, or by
        `from_codebook` without dense samples. Without it, variances around a unit are in
        proportion to those of the code vectors, and covariances are a share of theirs (along
        their 16 main directions for more than 1,024 features). With up to 1,024 features the time
        of a sample grows with the cube of its number of missing values.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> som = TFSOM().fit(X)
        >>> bool(np.abs(som.impute([[5.1, 3.5, 1.4, np.nan]])[0, 3] - 0.2) < 0.1)
        True
        """
        samples = self._check_data(X)
        valid.check_value("method", self, method, [valid.choice(["expectation", "unit"])])
        values = samples.values.astype(samples.dtype)  # a copy
        if not samples.has_missing:
            return values
        is_missing = np.isnan(values)
        if method == "expectation" and self._metric == "euclidean":
            residuals = self._residuals
            with tile_threads:  # digits of an inverse depend on the number of threads of BLAS
                if residuals is None:
                    residuals = variances_of(self.codebook_, self.hits_, self.quantization_error_)
                expected = expected_values(values, self.codebook_, self.hits_, residuals)
            is_found = is_missing & np.isfinite(expected)
            values[is_found] = in_precision(expected[is_found], samples.dtype)
            is_missing &= ~is_found
        if is_missing.any():
            bmus = self._nearest(samples)[:, 0]
            values[is_missing] = in_precision(self.codebook_[bmus][is_missing], samples.dtype)
        return values

    def to_keras(
        self,
        *,
        preprocessing: Any = None,
        outputs: Sequence[str] | None = None,
        dtype: str = "float32",
    ) -> Any:
        """Make a Keras model of the map, to serve it or to build it into another model.

        The model computes what `transform`, `bmus`, `predict` and `score_samples` compute. It
        consists of Keras operations, so that it loads where this package is not installed: from a
        ``.keras`` file, and from a SavedModel, a LiteRT or an ONNX file written by its method
        `export`. Read more in the :ref:`User Guide <guide_serving>`.

        Parameters
        ----------
        preprocessing : transformer, Pipeline or None, default=None
            Fitted steps in front of the map, whose input becomes that of the model:
            ``pipeline[-1].to_keras(preprocessing=pipeline[:-1])``. They may be StandardScaler,
            MinMaxScaler, MaxAbsScaler, RobustScaler, PowerTransformer, Normalizer, PCA,
            IncrementalPCA, FunctionTransformer of None or `numpy.log1p`, the feature selectors of
            scikit-learn, and ColumnTransformer and Pipeline of these.

        outputs : tuple of str, default=None
            Outputs of the model, of those below; all by default. It computes nothing else.

        dtype : {"float32", "float64"}, default="float32"
            Type of the input, of the computation and of the output. LiteRT has no float64.

        Returns
        -------
        model : keras.Model
            From samples of shape (n, n_features), NaN where a value is missing, to a dict:

            - "distances", shape (n, n_units): to all units, in data units;
            - "bmu", int32, shape (n,): index of the best-matching unit;
            - "position", shape (n, 2): its position, in lattice spacings;
            - "score", shape (n,): the output of `score_samples`, for `anomaly_score` as it is now;
            - "cluster_label", int32, shape (n,): the output of `predict`; only with `n_clusters`.

        Raises
        ------
        InvalidParameterError
            If `preprocessing`, `outputs` or `dtype` is not valid.
        NotFittedError
            If the map or a step is not fitted.
        ValueError
            If a step has other features than what is in front of it, or the last one other than
            the map, or if the map exceeds the range of `dtype`.

        Notes
        -----
        The model has no weights: training a model around it leaves the map as it is, and layers in
        front of it are trained through "distances".

        With more than four features, distances are computed from a matrix product, those of the
        best-matching unit again from differences. In float32 the error of other squared distances
        is at most 3e-6 times (4e-6 times, if values are missing) the sum of the squared norms of
        code vector and sample, as the map gets it, measured from the median code vector (under
        "cosine" and "correlation" from 0). If the distances of two units differ by less than 2e-6
        times the norm of the sample, or 1e-6 times its distance to the map, the model may return
        the lower index. With five or more such units, if only one value of the sample is known, or
        if values are missing and the norm exceeds 200 times the distance, it may return another of
        them. Under "manhattan" with 8 features or more the bounds are 1e-5 times the distance plus
        1e-6 times the sum of the absolute values of the sample, measured likewise.

        The model needs memory for a few arrays of the shape of "distances" and up to twenty of the
        shape of the samples; called as ``model(X)`` for forty, behind a PowerTransformer for
        ninety (140 in float64). With elementwise metrics or up to four features it also needs
        several arrays of 1,024 differences of each sample, or a 64th of those to all units.

        `keras.Model.predict` passes the model 32 samples at a time, and converts NumPy arrays to
        float32: call a model in float64 as ``model(X)``.

        Samples are not checked: a sample without any value is at distance 0 from all units, and
        under "cosine" and "correlation" missing values make distances NaN.

        Install the extras ``sklearn-tfsom[litert]`` and ``sklearn-tfsom[onnx]`` for
        ``model.export(path, format="litert")`` and ``format="onnx"``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from sklearn_tfsom import TFSOM
        >>> X = load_iris().data
        >>> pipeline = make_pipeline(StandardScaler(), TFSOM(grid_size=(8, 5), n_clusters=3))
        >>> pipeline = pipeline.fit(X)
        >>> model = pipeline[-1].to_keras(preprocessing=pipeline[:-1])
        >>> answers = model.predict(X, verbose=0)
        >>> sorted(answers)
        ['bmu', 'cluster_label', 'distances', 'position', 'score']
        >>> answers["distances"].shape
        (150, 40)
        >>> bool((answers["cluster_label"] == pipeline.predict(X)).all())
        True
        """
        check_is_fitted(self)
        # It imports parts of scikit-learn that nothing else here needs.
        from sklearn_tfsom._serving import keras_model_of_map

        return keras_model_of_map(self, preprocessing, outputs, dtype)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True if there is a map; callbacks of a first fit see attributes of the data."""
        return hasattr(self, "codebook_")

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of the estimator: values may be missing, float32 stays float32."""
        tags = super().__sklearn_tags__()
        # Parameters are checked in fit only.
        metric = METRICS.get(self.metric) if isinstance(self.metric, str) else None
        tags.input_tags.allow_nan = metric is not None and metric.allows_missing
        tags.input_tags.sparse = metric is not None and metric.allows_sparse
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        n_units = len(self.codebook_)  # no attribute before fit, which scikit-learn relies on
        return 2 if self.features == "coordinates" else n_units

    def _check_parameters(self) -> Workers:
        """Check the parameters of a fit, on all workers, and return these."""
        workers = _ambient_workers()
        with workers.raising_together():
            valid.check_parameters(self, RULES)
            numbers = checksums(self) if workers.are_several else {}
        if workers.are_several:
            workers.check_same(numbers)
        return workers

    def _check_features(self) -> None:
        """Check that `transform` can compute the features; they may be set after the fit."""
        valid.check_value("features", self, self.features, RULES["features"])
        if self.features == "activations":
            known_error(self)

    def _check_data(self, X: Any) -> Samples:
        """Check samples for a fitted map."""
        check_is_fitted(self)
        return check_samples(self, X, metric_of(self))

    def _nearest(self, samples: Samples, k: int = 1) -> NDArray[np.int64]:
        """Return the k best-matching units of checked samples, (n_samples, k)."""
        codebook = self.codebook_.reshape(*self.grid_shape_, -1)
        return nearest_units(samples, codebook, k)

    def _nearest_with_distances(
        self, samples: Samples, k: int = 1
    ) -> tuple[NDArray, NDArray[np.int64]]:
        """Return distances to the k best-matching units of checked samples, and the units."""
        bmus = self._nearest(samples, k)
        distances = distances_to_chosen(samples, self.codebook_, bmus)
        return in_precision(distances, samples.dtype), bmus


def _ambient_workers() -> Workers:
    """Return the workers of the `tf.distribute` strategy in whose scope this is called."""
    return tensorflow_core().ambient_workers() if has_strategy() else ALONE
