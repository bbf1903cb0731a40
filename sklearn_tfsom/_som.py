"""The estimator: parameters, docstrings, and methods of a few lines each."""

from __future__ import annotations

import copy
import zlib
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
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom import _validation as valid
from sklearn_tfsom._checkpoint import Checkpoint
from sklearn_tfsom._compat import CallbackSupportMixin, with_callbacks
from sklearn_tfsom._data.pieces import ALONE, Pieces, Workers
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import blas_in_one_thread
from sklearn_tfsom._distance import METRICS, metric_named
from sklearn_tfsom._fitted import (
    assign,
    cluster,
    map_errors,
    residuals_around_units,
    warn_of_few_clusters,
    warn_of_unsettled_map,
)
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._map.imputation import expected_values, variances_of
from sklearn_tfsom._map.schedules import n_epochs_to_end
from sklearn_tfsom._map.umatrix import u_heights
from sklearn_tfsom._plan import RULES, TrainingPlan, make_plan
from sklearn_tfsom._preprocessing import fold_scalers
from sklearn_tfsom._stream import learn_stream
from sklearn_tfsom._tf.runtime import is_started, tensorflow_core
from sklearn_tfsom._training import (
    TrainedEpoch,
    UnitMeans,
    train,
    trained_codebook,
    training_scaling,
    unit_means,
)


class TFSOM(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Self-organizing map (SOM), trained in batches by TensorFlow.

    A map is a grid of units, each with a code vector in data space. Every epoch each sample is
    given to the unit with the closest code vector (its best-matching unit, BMU), and each code
    vector becomes the mean of the samples of all units, weighted by the neighborhood h of the
    grid distance to them [1]_ [2]_::

        w_k = sum_j h(d(k, j)^2, radius) s_j / sum_j h(d(k, j)^2, radius) n_j

    where s_j and n_j are the weighted sum and the total weight of the samples of unit j. Units
    close on the grid thus become close in data space.

    Parameters
    ----------
    grid_size : int, tuple (n_rows, n_columns) or "auto", default="auto"
        Size of the map; an int makes it square. "auto" takes about ``5 sqrt(n)`` units, n being
        the total weight of the samples, with sides as the standard deviations along the two
        largest principal components, as SOM Toolbox does.

    lattice : {"hexagonal", "rectangular"}, default="hexagonal"
        Where the units stand. On a hexagonal lattice odd rows are shifted by half a lattice
        spacing, and each unit has six neighbors at distance 1.

    boundary : {"planar", "cylindrical", "toroidal"}, default="planar"
        "cylindrical" joins the left edge of the map to the right one, "toroidal" also the top to
        the bottom. A hexagonal torus with an odd number of rows is joined with a shift of half a
        lattice spacing, so that there, too, each unit has six neighbors at distance 1.

    neighborhood : {"gaussian", "cut_gaussian", "bubble", "epanechnikov", "mexican_hat", \
            "triangle"} or callable, default="gaussian"
        How much a unit learns from the samples of another, a function of the squared grid
        distance d^2 and the radius r: ``exp(-d^2 / 2r^2)``; the same where ``d <= r``, else 0;
        1 where ``d <= r``, else 0; ``max(0, 1 - d^2 / r^2)``;
        ``(1 - d^2 / r^2) exp(-d^2 / 2r^2)``; ``max(0, 1 - d / r)``.
        A callable ``h(squared_distances, radius)`` gets an array and returns one of that shape.

    metric : {"euclidean", "cosine", "correlation", "manhattan", "chebyshev"}, default="euclidean"
        Distance in data space, for the search, for `transform` and for all measures: ``|x - w|``;
        ``1 - cos(x, w)``; the same of x less the mean of its own features; ``sum_i |x_i - w_i|``;
        ``max_i |x_i - w_i|``. What it makes of the update, see the notes.

    init : {"pca", "sample", "random"} or array-like of shape (n_units, n_features), \
            default="pca"
        The codebook before training. "pca" spreads the grid over the plane of the two largest
        principal components, one standard deviation to each side; it needs no randomness.
        "sample" draws rows of the data, "random" draws from the box that holds the data.

    max_iter : int, default=20
        Number of epochs, at most.

    radius_start : float or "auto", default="auto"
        Radius of the neighborhood in the first epoch, in lattice spacings. "auto" is a sixth of
        the map's longer side with ``init="pca"`` and half of it otherwise, but at least 1; for
        compact neighborhoods more, in proportion to where `radius_end="auto"` ends.

    radius_end : float or "auto", default="auto"
        Radius of the last epochs, in lattice spacings. "auto" is 0.85; for the compact
        neighborhoods it is 1 ("cut_gaussian", "bubble"), 1.5 ("epanechnikov") or 2 ("triangle"),
        so that they reach the direct neighbors, and 1 for "mexican_hat", so that it does not push
        them away. A smaller radius gives a lower quantization error and a map that folds more.

    radius_decay : {"exponential", "linear"} or array-like of shape (max_iter,), \
            default="exponential"
        How the radius falls from `radius_start` to `radius_end`, over the first four fifths of
        `max_iter` epochs; then it is held. A single epoch has `radius_end`. An array is the
        schedule itself, one radius for each epoch.

    coarse_to_fine : bool, default=True
        Whether a coarser grid is searched while the radius is wide: what a wide neighborhood
        leaves of a map, fewer units hold as well. So do fewer samples: until the radius has
        reached its end, or 0.85, 48 for each unit of that grid, but at least 16,000, stand for
        all, where these are more than twice as many. They are chosen by what they are, so that
        neither their order nor repetition matters, and what weighs much is neither missed nor
        outweighs the rest. It makes training 1.5 to 3 times as fast from some 50,000 samples or
        1,000 units on; on average over data sets the errors stay as they are, on one set they may
        differ by a few percent either way.

        It applies to a Gaussian neighborhood with ``init="pca"``, where the start can be laid out
        on any grid, and not to hexagonal tori with an odd number of rows; all else, or False, is
        the batch map as it is defined above, of all samples on the whole grid in every epoch.

        With it the map is also mirrored before the last epochs, tried both ways round on up to
        4,000 samples, and the better one is kept: a hexagonal sheet is not the same in the
        mirror, and which way it lies is up to the arbitrary sign of a principal component. That
        goes for planar hexagonal maps of up to 1,024 units, not for radii given as
        `radius_decay`.

    tol : float, default=1e-4
        Training stops once the radius has reached its end and the root mean square move of the
        code vectors in an epoch is at most `tol` times the root mean square distance of the
        samples to their mean. With 0 it stops only when nothing moves.

    batch_size : int or None, default=None
        None updates the map once an epoch, from all samples. With an int it learns by mini-batches
        of that many samples (of that total weight), the same in each epoch and each a cross
        section of the data, while what it learnt before fades: it remembers five samples for each
        unit, or four batches if that is more. With 10,000 samples or more, five epochs of this do
        what twenty of the other do. It searches the whole grid. Where all samples weigh less than
        one batch, it is None.

    n_clusters : int, "auto" or None, default=None
        None makes every unit a cluster. With an int the units are merged into that many clusters
        after training: two-level clustering [3]_, by Ward's method on the means of their samples,
        weighted by hits, with distances along the data; so clusters of any shape are found.
        "auto" takes the number, from 2 to 20, that parts them most clearly; it is right on about
        three data sets in four, and never finds that there are no clusters.

    features : {"distances", "coordinates", "activations"}, default="distances"
        What `transform` returns: the distances to all units, in data units; the position of the
        best-matching unit, in lattice spacings; or the activation of all units,
        ``exp(-d^2 / 2q^2)`` with the distance d and the quantization error q of the training
        data, between 0 and 1.

    anomaly_score : {"distance", "u_height"}, default="distance"
        What `score_samples` returns: minus the distance to the best-matching unit; or that minus
        the height of the unit on the U-matrix, its mean distance to its neighbors. The latter
        finds anomalies among the training data, on which the map has units of their own.

    compute_topographic_error : bool, default=False
        Whether `history_` holds the topographic error of each epoch, too. It costs a search of its
        own for the two best-matching units: from 1.5 epochs on small data to ten on large.

    checkpoint_dir : path-like or None, default=None
        Where `fit` keeps how far it has come, in a file that is replaced after each epoch and
        removed at the end. A fit that was broken off, and is started again with the same
        parameters and the same samples, goes on there, to the same bits. Fits that differ have
        files of their own.

    random_state : int, RandomState instance or None, default=None
        Used by ``init="sample"`` and ``init="random"`` only.

    verbose : int, default=0
        Above 0, each epoch prints a line.

    Attributes
    ----------
    codebook_ : ndarray of shape (n_units, n_features)
        Code vectors, in data units. Units are row-major: unit k stands at row
        ``k // n_columns``, column ``k % n_columns``.

    labels_ : ndarray of int64, shape (n_samples,)
        Cluster of each sample: its best-matching unit where `n_clusters` is None. After
        `partial_fit` of the samples of the last call.

    cluster_labels_ : ndarray of int64, shape (n_units,)
        Cluster of each unit.

    grid_shape_ : tuple (n_rows, n_columns)
        Size of the map.

    unit_positions_ : ndarray of float64, shape (n_units, 2)
        Position (x, y) of each unit on the map plane, in lattice spacings.

    hits_ : ndarray of float64, shape (n_units,)
        Total weight of the samples of each unit: their number, without sample weights. After
        `partial_fit` what is remembered of it.

    quantization_error_ : float
        Weighted mean distance of the samples to their best-matching units, in data units. After
        `partial_fit` it is over the samples remembered, before they were learnt.

    history_ : dict of str to ndarray of float64, shape (`n_iter_`,)
        "radius" of each epoch (of each mini-batch of the last `partial_fit`), in lattice spacings,
        and "quantization_error" of the codebook that it began with (on a coarser grid, and of some
        samples, where `coarse_to_fine` searches these), in data units. It costs no pass of its
        own: it is summed from the search's float32 scores, good to 1e-5 on most data, and to less
        where samples lie much closer to their units than to the data's mean. With
        `compute_topographic_error` also "topographic_error": of the whole map that the epoch ended
        with.

    n_iter_ : int
        Number of epochs run; of mini-batches in the last `partial_fit`.

    n_samples_seen_ : float
        Total weight of the samples learnt, in `fit` or in all calls of `partial_fit`.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of str, shape (`n_features_in_`,)
        Names of the features, where `X` had names that are all strings.

    See Also
    --------
    sklearn.cluster.KMeans : The same without a grid: clusters have no neighbors.
    sklearn_tfsom.metrics : Quality measures.
    sklearn_tfsom.displays : Pictures of a map.

    Notes
    -----
    The result has the precision of the input: float32 in gives float32 out, everything else
    float64. Best-matching units are exact: where rounding could decide between two units, the
    differences to them decide, in float64, and among units that are equally close within rounding
    the lowest index wins.

    Data units are those of the distance: under "cosine" and "correlation" it has none, and lies
    between 0 and 2. There a sample is a direction ``x / |x|`` (of ``x - mean(x)``), and a code
    vector too, of length 1: what the formula above makes of directions, divided by its length.
    That minimizes the sum of ``h (1 - cos)``, as the mean does that of squared distances. A sample
    of zeros (of equal values) has no direction: it takes no part in training, nor in `history_`
    and `n_samples_seen_`; its distance to every unit is 1, and its unit the first one.
    "manhattan" and "chebyshev" choose the unit; the code vectors remain means, which do not
    minimize these distances (medians and midranges would, but those do not add up).

    Sparse samples go with "euclidean" and "cosine", missing values with all but "cosine" and
    "correlation", and not with each other.

    Values may be missing (NaN), wherever samples are given. Distances are over the known features
    of a sample, and not scaled up for the others; means in the formula above are feature by
    feature, s_j and n_j counting the samples with a known value. So nothing is drawn toward zero
    or toward the mean.

    A unit that no sample has chosen takes the mean of its neighborhood; one that no sample can
    reach through the neighborhood keeps its code vector. "mexican_hat" has negative values: where
    they prevail or nearly cancel the positive ones, the ratio above is no mean, and code vectors
    can leave the data. It is here for comparison with other libraries, not for use.

    References
    ----------
    .. [1] Kohonen (2001): Self-Organizing Maps, 3rd edition, Springer.
    .. [2] Kohonen (2013): Essentials of the self-organizing map. Neural Networks 37, 52-65.
    .. [3] Vesanto, Alhoniemi (2000): Clustering of the self-organizing map. IEEE Transactions on
       Neural Networks 11 (3), 586-600.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> som.predict(X[:3]).shape
    (3,)
    >>> som.transform(X).shape
    (150, 40)
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
        anomaly_score: str = "distance",
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
        """Take up what an earlier version has saved; parameters new since then have defaults."""
        super().__setstate__({**TFSOM().get_params(deep=False), **state})

    @valid.unchanged_on_error
    @with_callbacks
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> TFSOM:
        """Train the map.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing. Sparse ones are never written out; a memory map
            of 64 MiB or more is read tile by tile in each epoch, and never copied as a whole.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight k counts a sample k times, weight 0 not at all. None is 1 for each.

        Returns
        -------
        self : TFSOM
            The fitted map.

        Raises
        ------
        InvalidParameterError
            Where a parameter is not as described above. The estimator is left as it was.
        ValueError
            Where the data or the weights are not finite numbers (or NaN, for data) of these
            shapes, a sample or a feature has no value at all, no sample has a direction under a
            metric of directions, or there are fewer samples than `n_clusters`.

        Warns
        -----
        ConvergenceWarning
            Where samples fall on fewer units than `n_clusters`: there are fewer clusters then.
            Where `max_iter` leaves no epoch after the radius has reached its end.
        """
        pieces = self._check_training_data(X, sample_weight)
        with blas_in_one_thread():
            plan = make_plan(self, pieces)
        callbacks = self._init_callback_context(max_subtasks=len(plan.radii))
        callbacks.call_on_fit_task_begin(estimator=self, X=X, y=y)
        checkpoint = Checkpoint(self.checkpoint_dir, self, plan)
        names = ["radius", "quantization_error"]
        names += ["topographic_error"] if self.compute_topographic_error else []
        n_done, history, state = checkpoint.read(names)
        n_falling = n_epochs_to_end(plan.radii)
        for epoch in train(plan, n_done, state):
            task = callbacks.subcontext(task_name="epoch")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            self._record(plan, epoch, history)
            is_stopped = task.call_on_fit_task_end(
                estimator=self,
                X=X,
                y=y,
                reconstruction_attributes=lambda epoch=epoch: vars(
                    copy.copy(self)._set_outcome(plan, pieces.own, epoch, history)
                ),
            )
            has_settled = epoch.move <= self.tol * plan.moments.spread
            is_stopped, has_settled = pieces.workers.sum([is_stopped, has_settled]) > 0
            if is_stopped or (epoch.n_epochs >= n_falling and has_settled):
                break
            checkpoint.write(history, epoch.following)
        with blas_in_one_thread():
            self._set_outcome(plan, pieces, epoch, history)
        checkpoint.remove()
        warn_of_few_clusters(self, stacklevel=5)  # the line that called fit
        is_last = isinstance(self.radius_decay, str) and n_falling == len(plan.radii)
        if is_last and epoch.n_epochs == n_falling and not has_settled:
            warn_of_unsettled_map(self, stacklevel=5)
        callbacks.call_on_fit_task_end(
            estimator=self, X=X, y=y, reconstruction_attributes=lambda: {}
        )
        return self

    @valid.unchanged_on_error
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> TFSOM:
        """Learn some samples more, of a stream.

        The first call, where `fit` has not been called before, makes the map: from its samples,
        or from an array given as `init`. Say `grid_size` then: "auto" knows the first samples
        only.

        The map moves as in `fit`, over the samples that it remembers: the statistics s_j and n_j
        fade by ``exp(-b / M)`` with each mini-batch of total weight b. It remembers a weight M of
        500 samples, or 5 for each unit if that is more; at first less, 0.3 of those seen, so that
        the beginning is soon forgotten. The radius falls from `radius_start` ("auto": a fourth of
        the longer side) to `radius_end` over the first 100 samples, or 0.6 for each unit if that
        is more; radii given as `radius_decay` are gone through in this time.

        Samples are learnt in the order in which they come, in mini-batches of a twentieth of
        those seen, from 4 up to 1,024 samples, or one for every fourth unit if that is more; so
        the size of the pieces in which a stream comes hardly matters. A stream whose order means
        nothing is best shuffled; one that drifts is followed. After a jump of the data the error
        is within a tenth of what it was once some eight memories have passed.

        A map from `fit` goes on learning, with what it has learnt as its memory. A map keeps its
        grid and its metric, whatever parameters are set later; the others count as they are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight k counts a sample k times, weight 0 not at all. None is 1 for each.

        Returns
        -------
        self : TFSOM
            The map. `labels_` and `history_` are those of this call, `n_iter_` is its number of
            mini-batches; `hits_` and `quantization_error_` are those of the samples remembered,
            the error of each being the one before it was learnt.

        Raises
        ------
        InvalidParameterError
            Where a parameter is not as described above. The estimator is left as it was.
        ValueError
            Where the data or the weights are not as `fit` wants them, or the first samples have
            no value for a feature.

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
        is_first = not hasattr(self, "codebook_")
        samples = self._check_data(X, reset=is_first)
        weights = valid.check_sample_weight(sample_weight, len(samples))
        memory, left, history = learn_stream(self, samples, weights)
        grid, codebook, units = memory.grid, memory.codebook, memory.units
        found = assign(Pieces(samples, left), codebook, grid)
        hits = memory.hits + found.hits
        self._set_fitted(grid, samples.metric.name, codebook, units, hits, found.bmus, history)
        self.quantization_error_ = memory.error
        self.n_samples_seen_ = memory.seen
        self._is_from_stream = True
        self._residuals: NDArray[np.float64] | None = None  # those of a fit no longer hold
        warn_of_few_clusters(self, stacklevel=4)  # the line that called partial_fit
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
            Index of the best-matching unit, or its cluster where `n_clusters` is given.
        """
        bmus = self.bmus(X)  # first, since it checks that the map is fitted
        return self.cluster_labels_[bmus]

    def transform(self, X: ArrayLike) -> NDArray:
        """Turn samples into the features that the `features` parameter names.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_units) or (n_samples, 2)
            Distances to the units, in data units; coordinates of the best-matching unit, in
            lattice spacings; or activations. float32 where `X` is (distances then are good to
            about 2e-5), else float64.
        """
        samples = self._check_fitted_data(X)
        valid.check_value("features", self, self.features, RULES["features"])
        if self.features == "coordinates":
            bmus = self._nearest(samples)[:, 0]
            return self.unit_positions_[bmus].astype(samples.dtype)
        distances = self._distances(samples)
        if self.features == "distances":
            return distances
        width = max(self.quantization_error_, float(np.finfo(samples.dtype).tiny))
        with np.errstate(over="ignore"):  # so far away that the activation is 0
            return np.exp(-np.square(distances / samples.dtype.type(width)) / 2)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Compute minus the mean quantization error: higher is better.

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
        """
        samples = self._check_fitted_data(X)
        weights = valid.check_sample_weight(sample_weight, len(samples))
        return -assign(Pieces(samples, weights), self.codebook_, grid_of(self)).error

    def score_samples(self, X: ArrayLike) -> NDArray:
        """Compute how normal samples are, by the score that `anomaly_score` names.

        Read more in the :ref:`User Guide <guide_anomalies>`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In data units; the lower, the more abnormal.

        Raises
        ------
        InvalidParameterError
            If `anomaly_score` is not a valid name.

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
        distances, bmus = self.bmus(X, return_distance=True)
        valid.check_value("anomaly_score", self, self.anomaly_score, RULES["anomaly_score"])
        if self.anomaly_score == "distance":
            return -distances
        grid = grid_of(self)
        n_neighbors = 6 if grid.is_hexagonal else 4
        heights = u_heights(grid, self.codebook_, metric_named(self._metric), n_neighbors)
        return -(distances + heights[bmus]).astype(distances.dtype)

    def bmus(self, X: ArrayLike, n_bmus: int = 1, return_distance: bool = False) -> Any:
        """Find the best-matching units of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        n_bmus : int, default=1
            How many units to find for each sample, at most n_units.

        return_distance : bool, default=False
            Whether to return the distances too, in front, as scikit-learn's `kneighbors` does.

        Returns
        -------
        distances : ndarray of shape (n_samples,) or (n_samples, n_bmus)
            Distances to the units found, in data units. Only if `return_distance` is True.

        bmus : ndarray of int64, shape (n_samples,) or (n_samples, n_bmus)
            Unit indices, the closest first; two-dimensional where `n_bmus` is above 1. Among
            units that are equally close within rounding the lowest index comes first.

        Raises
        ------
        InvalidParameterError
            Where `n_bmus` is not an int from 1 to n_units.
        """
        samples = self._check_fitted_data(X)
        valid.check_value("n_bmus", self, n_bmus, [valid.integer(1, len(self.codebook_))])
        bmus = self._nearest(samples, int(n_bmus))
        shape = len(samples) if n_bmus == 1 else bmus.shape
        if not return_distance:
            return bmus.reshape(shape)
        distances = self._distances_to(samples, bmus).astype(samples.dtype)
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
            In data units; of the codebook's dtype.
        """
        bmus = self.bmus(X)
        return self.codebook_[bmus]

    def impute(self, X: ArrayLike, *, method: str = "expectation") -> NDArray:
        """Fill in missing values by what the map expects of them.

        The map is read as a mixture of Gaussians at its units, with the covariance that the
        training samples have around their units. A missing value becomes its expectation given
        the known values of its sample: the values of the units, weighted by how well each fits
        what is known, and corrected for what is known in the direction in which features go
        together. This assumes that values are missing at random given the known ones, and it
        understates the variance, as any single value does.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing. Each has a value at least.

        method : {"expectation", "unit"}, default="expectation"
            "unit" takes the values of the best-matching unit, as they are: these never leave the
            range of the data. It serves the metrics "manhattan" and "chebyshev" in any case,
            since a Gaussian knows nothing of them.

        Returns
        -------
        X_imputed : ndarray of shape (n_samples, n_features)
            A copy without missing values, float32 where `X` is, else float64. A sparse matrix,
            where nothing is missing, is copied as it is.

        Raises
        ------
        InvalidParameterError
            Where `method` is neither of these.

        Notes
        -----
        The covariance is kept up to 1,024 features, and not by `partial_fit`: without it the
        features are independent around a unit, with a variance in proportion to that of the code
        vectors. On 11 sets, standardized, with a fifth of the values missing, the error is 0.59
        of the column mean's on the geometric mean (from 0.33 where features go together closely to
        1.03 where they do not at all), and 0.74 with "unit".

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
        samples = self._check_fitted_data(X)
        valid.check_value("method", self, method, [valid.choice(["expectation", "unit"])])
        values = samples.values.astype(samples.dtype)  # a copy
        if not samples.has_missing:
            return values
        is_missing = np.isnan(values)
        if method == "expectation" and self._metric == "euclidean":
            residuals = getattr(self, "_residuals", None)
            if residuals is None:
                residuals = variances_of(self.codebook_, self.hits_, self.quantization_error_)
            codebook = self.codebook_.astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):  # far out; see below
                expected = expected_values(values, codebook, self.hits_, residuals)
            is_found = is_missing & np.isfinite(expected)
            values[is_found] = expected[is_found]
            is_missing &= ~is_found
        if is_missing.any():
            bmus = self._nearest(samples)[:, 0]
            values[is_missing] = self.codebook_[bmus][is_missing]
        return values

    def to_keras(self, *, preprocessing: Any = None, dtype: str = "float32") -> Any:
        """Make a Keras model of the map, to serve it or to build it into another model.

        It computes what `transform`, `bmus` and `predict` do. The model consists of Keras's own
        operations, and so it loads where this package is not installed: from a ``.keras`` file,
        and from a SavedModel, a LiteRT or an ONNX file, which its method `export` writes.

        Parameters
        ----------
        preprocessing : StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler or Pipeline of \
                these, default=None
            Fitted scalers that stand in front of the map. The model takes samples as they are
            before these: ``pipeline[-1].to_keras(preprocessing=pipeline[:-1])``.

        dtype : {"float32", "float64"}, default="float32"
            Type of the samples, of the computation and of what comes out of it, whatever `X` in
            `fit` was. In float32 distances are good to about 1e-6 of the largest values, and of
            two units that are as close within that the first one wins; values that are far from
            zero and close to each other may need float64. LiteRT has none.

        Returns
        -------
        model : keras.Model
            From samples, shape (n, n_features), NaN where a value is missing, to a dict:

            - "distances", shape (n, n_units): to all units, in data units;
            - "bmu", int32, shape (n,): index of the best-matching unit;
            - "position", shape (n, 2): where that one stands, in lattice spacings, a row of
              `unit_positions_`;
            - "cluster_label", int32, shape (n,): what `predict` returns. Only with `n_clusters`.

        Raises
        ------
        InvalidParameterError
            Where `preprocessing` or `dtype` is not as described above.
        NotFittedError
            Where the map or a scaler is not fitted.
        ValueError
            Where a scaler has other features than the map, or float32 cannot hold the map.

        Notes
        -----
        The model has no weights: training a model that it is part of leaves the map as it is, and
        what comes in front of it is trained through "distances".

        It holds n * n_units * n_features values at a time; `keras.Model.predict` passes it 32
        samples by default. That makes float32 of NumPy arrays first, so that a model in float64 is
        better called: ``model(X)``.

        Nothing is checked: a sample without any value, which the map refuses, is at distance 0
        from all units, and under "cosine" and "correlation" missing values make distances NaN.

        What ``model.export(path, format="litert")`` and ``format="onnx"`` need, and what runs
        these files, comes with the extras ``sklearn-tfsom[litert]`` and ``sklearn-tfsom[onnx]``.

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
        >>> {name: answer.shape for name, answer in sorted(answers.items())}
        {'bmu': (150,), 'cluster_label': (150,), 'distances': (150, 40), 'position': (150, 2)}
        >>> bool((answers["cluster_label"] == pipeline.predict(X)).all())
        True
        """
        check_is_fitted(self)
        valid.check_value("dtype", self, dtype, [valid.choice(["float32", "float64"])])
        scaling = fold_scalers(preprocessing, self)
        clusters = None if self.n_clusters is None else self.cluster_labels_
        metric = metric_named(self._metric)
        return tensorflow_core().keras_model(
            self.codebook_, metric, scaling, self.unit_positions_, clusters, dtype
        )

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

    def _check_training_data(self, X: Any, sample_weight: Any) -> Pieces:
        """Check parameters and data of a fit, on all workers."""
        workers = _ambient_workers()
        with workers.raising_together():
            valid.check_parameters(self, RULES)
            samples = self._check_data(X, reset=True)
            weights = valid.check_sample_weight(sample_weight, len(samples))
        if workers.are_several:
            workers.check_same(_facts(self, samples))
            has_missing = workers.any(samples.has_missing)
            samples = Samples(samples.values, samples.metric, has_missing=has_missing)
        return Pieces(samples, weights, workers)

    def _check_data(self, X: Any, *, reset: bool) -> Samples:
        metric = metric_named(self.metric if reset else self._metric)
        return valid.check_samples(self, X, metric, reset=reset)

    def _check_fitted_data(self, X: Any) -> Samples:
        check_is_fitted(self)
        return self._check_data(X, reset=False)

    def _record(
        self, plan: TrainingPlan, epoch: TrainedEpoch, history: dict[str, list[float]]
    ) -> None:
        """Append an epoch to the history, and print a line if asked to."""
        history["radius"].append(epoch.radius)
        history["quantization_error"].append(epoch.quantization_error)
        if self.compute_topographic_error:
            codebook = trained_codebook(plan, epoch)
            history["topographic_error"].append(map_errors(plan.pieces, codebook, plan.grid)[1])
        if self.verbose and plan.pieces.workers.index == 0:
            print(
                f"[TFSOM] epoch {epoch.n_epochs}/{len(plan.radii)}: radius {epoch.radius:.3g}, "
                f"quantization error {epoch.quantization_error:.6g}"
            )

    def _set_outcome(
        self,
        plan: TrainingPlan,
        pieces: Pieces,
        epoch: TrainedEpoch,
        history: dict[str, list[float]],
    ) -> TFSOM:
        """Set the fitted attributes after an epoch of `fit`."""
        codebook = pieces.workers.from_first(trained_codebook(plan, epoch))
        codebook = codebook.astype(pieces.samples.dtype)
        found = assign(pieces, codebook, plan.grid)
        is_known = plan.is_whole(epoch.stage)
        learned = unit_means(epoch.state, training_scaling(plan)) if is_known else None
        units = learned or UnitMeans(codebook, found.hits[:, None])
        self._set_fitted(plan.grid, self.metric, codebook, units, found.hits, found.bmus, history)
        self.quantization_error_ = found.error
        self.n_samples_seen_ = plan.pieces.total_weight
        self._is_from_stream = False
        self._residuals = residuals_around_units(plan, pieces, codebook, learned, found.bmus)
        return self

    def _set_fitted(
        self,
        grid: Grid,
        metric: str,
        codebook: NDArray,
        units: UnitMeans,
        hits: NDArray[np.float64],
        bmus: NDArray[np.int64],
        history: dict[str, list[float]],
    ) -> None:
        """Set the attributes that `fit` and `partial_fit` have in common."""
        means = np.where(units.counts > 0, units.means, codebook).astype(codebook.dtype)
        self.codebook_ = codebook
        self.cluster_labels_ = cluster(self, codebook, means, hits)
        self.labels_ = self.cluster_labels_[bmus]
        self.grid_shape_ = grid.shape
        self.unit_positions_ = grid.positions()
        self.hits_ = hits
        self.history_ = {name: np.array(values) for name, values in history.items()}
        self.n_iter_ = len(history["radius"])
        # What the codebook was trained with, whatever parameters are set later.
        self._lattice, self._boundary = grid.lattice, grid.boundary
        self._metric, self._neighborhood = metric, self.neighborhood
        # What `partial_fit` goes on from.
        self._unit_means, self._unit_counts = means, units.counts

    def _nearest(self, samples: Samples, k: int = 1) -> NDArray[np.int64]:
        """Return the k best-matching units of checked samples, (n_samples, k)."""
        codebook = self.codebook_.reshape(*self.grid_shape_, -1)
        return tensorflow_core().nearest_units(samples, codebook, k)

    def _distances_to(self, samples: Samples, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distances of checked samples to chosen units (n_samples, k)."""
        return tensorflow_core().distances_to_chosen(samples, self.codebook_, units)

    def _distances(self, samples: Samples) -> NDArray:
        """Return the distances of checked samples to all units, (n_samples, n_units)."""
        return tensorflow_core().distances_to_units(samples, self.codebook_)


def _ambient_workers() -> Workers:
    """Return the workers of the `tf.distribute` strategy in whose scope this is called."""
    # There is no strategy before TensorFlow has been imported.
    return tensorflow_core().ambient_workers() if is_started() else ALONE


def _facts(som: TFSOM, samples: Samples) -> dict[str, float]:
    """Return what must be the same on all workers of a fit, by name."""
    names = getattr(som, "feature_names_in_", None)
    parameters = {
        name: value if value is None or isinstance(value, str | int | float | tuple) else "..."
        for name, value in som.get_params(deep=False).items()
        if name not in ("checkpoint_dir", "random_state", "verbose")  # only the first worker's
    }
    return {
        "number of features": samples.shape[1],
        "names of features": zlib.crc32(repr(names if names is None else list(names)).encode()),
        "precision": samples.dtype.itemsize,
        "kind of data, sparse or dense": samples.is_sparse,
        "parameters": zlib.crc32(repr(sorted(parameters.items())).encode()),
    }
