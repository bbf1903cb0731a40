"""Displays, measures and scorers of pipelines equal those of the map on prepared samples."""

import functools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pictures import assert_texts_fit_and_do_not_overlap
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA, FastICA, KernelPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

matplotlib.use("agg")

import matplotlib.pyplot as plt

from sklearn_tfsom import TFSOM, displays, metrics
from sklearn_tfsom.distributed import Grid

X, y = load_wine(return_X_y=True, as_frame=True)
NAMES = list(X.columns)
FEW = X[NAMES[:4]]  # drawn faster


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(StandardScaler(), TFSOM((7, 5), n_clusters=3)).fit(X)


class Sampler(BaseEstimator):
    """A step as of imbalanced-learn, which `fit` applies and other methods skip."""

    def fit_resample(self, X, y):
        return X, y


WRAPPED = {
    "pipeline": lambda pipeline: pipeline,
    "frozen": FrozenEstimator,
    "nested": lambda pipeline: make_pipeline("passthrough", pipeline),
    "frozen map": lambda pipeline: make_pipeline(pipeline[0], FrozenEstimator(pipeline[-1])),
    "sampler": lambda pipeline: Pipeline(
        [("scaler", pipeline[0]), ("sampler", Sampler()), ("map", pipeline[-1])]
    ),
}


# One function unwraps for all displays: not each of them is drawn with each wrapper.
PAIRS = [(name, "pipeline") for name in displays.__all__]
PAIRS += [("ComponentPlanesDisplay", wrapper) for wrapper in WRAPPED if wrapper != "pipeline"]


@functools.cache
def pipeline_of_few():
    return make_pipeline(StandardScaler(), TFSOM((7, 5), n_clusters=3)).fit(FEW)


@functools.cache
def display_of_map(name):
    """Draw a display of the map alone on prepared samples, once for all wrappers."""
    pipeline = pipeline_of_few()
    prepared = pipeline[:-1].transform(FEW)
    return getattr(displays, name).from_estimator(pipeline[-1], prepared, y == 0)


@pytest.mark.parametrize(("name", "wrapper"), PAIRS)
def test_displays_take_pipelines(name, wrapper):
    wrapped = WRAPPED[wrapper](pipeline_of_few())
    own = getattr(displays, name).from_estimator(wrapped, FEW, y == 0)
    of_map = {
        key: value
        for key, value in vars(display_of_map(name)).items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind in "fib"
        # These are in the original units.
        and key not in ("codebook", "planes", "names", "axis_names")
    }
    for key, value in of_map.items():
        assert_allclose(getattr(own, key), value, err_msg=key)
    assert of_map or name in ("MapOverviewDisplay", "TrainingDisplay")


@pytest.mark.parametrize("name", metrics.__all__)
def test_measures_and_scorers_take_pipelines(name, pipeline):
    measure = getattr(metrics, name)
    takes_y = name.removeprefix("neg_").removesuffix("_scorer") in (
        *("purity", "class_entropy", "class_scatter_index", "class_counts"),
        "normalized_mutual_information",
    )
    takes_x = "topographic_product" not in name and name != "u_matrix"
    takes_x = takes_x or name.endswith("scorer")
    own = [X] * takes_x + [y] * takes_y
    prepared = [pipeline[:-1].transform(X)] * takes_x + [y] * takes_y
    expected = measure(pipeline[-1], *prepared)
    assert_array_equal(measure(pipeline, *own), expected) if not isinstance(expected, tuple) else [
        assert_array_equal(a, b) for a, b in zip(measure(pipeline, *own), expected, strict=True)
    ]


def test_best_estimator_of_a_search():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), TFSOM(max_iter=3)), {"tfsom__grid_size": [3]}
    )
    search.fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(search)
    assert display.names == NAMES[:4]


STEPS = {
    "scaler": [StandardScaler()],
    "two scalers": [MinMaxScaler(), StandardScaler()],
    "power": [PowerTransformer(), StandardScaler()],
    "rotation": [StandardScaler(), PCA()],
}


# scikit-learn 1.6 warns of arrays in `inverse_transform` of steps that were fitted to a frame.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_planes_and_code_vectors_are_in_original_units(steps):
    pipeline = make_pipeline(*steps, TFSOM((6, 5))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.names == NAMES[:4] and display.title == "Component planes"
    turned = pipeline[-1].codebook_
    for step in reversed(pipeline[:-1]):
        turned = step.inverse_transform(turned)
    assert_allclose(display.planes, turned)
    assert_allclose(displays.CodeVectorsDisplay.from_estimator(pipeline).codebook, turned)
    # Code vectors of a settled map are means of samples that are close to each other.
    assert_allclose(turned.mean(axis=0), FEW.mean(), rtol=0.2)


def test_step_without_an_inverse_is_named():
    pipeline = make_pipeline(Normalizer(), StandardScaler(), TFSOM((6, 5))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.title == "Component planes after Normalizer" and display.names == NAMES[:4]
    assert_allclose(display.planes, pipeline[1].inverse_transform(pipeline[-1].codebook_))
    title = displays.CodeVectorsDisplay.from_estimator(pipeline).ax_.get_title()
    assert title.startswith("Code vectors after Normalizer")


class Unnamed(TransformerMixin, BaseEstimator):
    """A transformer as short as it can be."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.asarray(X)

    def get_feature_names_out(self, names=None):
        return np.array(NAMES[:4] if names is None else names)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("step", [FunctionTransformer(np.log1p), Unnamed()], ids=repr)
def test_inverse_that_gives_no_data_units_is_not_taken(step):
    pipeline = make_pipeline(step, StandardScaler(), TFSOM((6, 5))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.title == f"Component planes after {type(step).__name__}"
    assert display.names == NAMES[:4]
    assert_allclose(display.planes, pipeline[1].inverse_transform(pipeline[-1].codebook_))
    columns = make_column_transformer((step, NAMES[:2]), (StandardScaler(), NAMES[2:4]))
    pipeline = make_pipeline(columns, TFSOM((6, 5))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.value_unit == f"after {type(step).__name__}"
    assert_array_equal(display.planes[:, :2], pipeline[-1].codebook_[:, :2])


@pytest.mark.parametrize(
    "step",
    [KernelPCA(3), OrdinalEncoder(), KBinsDiscretizer(3, encode="ordinal"), OneHotEncoder()],
    ids=lambda step: type(step).__name__,
)
@pytest.mark.filterwarnings("ignore:.*quantile_method:FutureWarning")
@pytest.mark.filterwarnings("ignore:Bins whose width:UserWarning")
def test_inverse_that_gives_no_numbers_or_rounds_them_is_not_taken(step):
    few = FEW[NAMES[:2]].round().astype(int)
    pipeline = make_pipeline(step, TFSOM((4, 3))).fit(few)
    displays.MapOverviewDisplay.from_estimator(pipeline, few)
    title = displays.CodeVectorsDisplay.from_estimator(pipeline).ax_.get_title()
    assert title.startswith(f"Code vectors after {type(step).__name__}")
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.title.endswith(f"after {type(step).__name__}")


def test_terms_of_texts_are_no_numbers():
    """The inverse of a vectorizer gives a list, here of three numbers of products for each."""
    baskets = [[7, 7, 9], [7, 9, 12], [9, 12, 12]] * 10
    step = CountVectorizer(analyzer=list)
    pipeline = make_pipeline(step, TFSOM((3, 3), max_iter=5)).fit(baskets)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.names == ["7", "9", "12"]
    assert display.value_unit == "after CountVectorizer"
    assert_array_equal(display.planes, pipeline[-1].codebook_)


@pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist])
def test_inverse_that_gives_integers_is_taken(convert):
    def inverse(X):
        return convert(np.round(X**2).astype(int))

    step = FunctionTransformer(np.sqrt, inverse, check_inverse=False)
    pipeline = make_pipeline(step, TFSOM((4, 3))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert_array_equal(display.planes, np.round(pipeline[-1].codebook_ ** 2))


def test_texts_have_a_plane_for_each_word():
    texts = ["red wine", "cheap white wine", "cold beer", "warm beer"]
    pipeline = make_pipeline(TfidfVectorizer(), TFSOM(2)).fit(texts)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.title == "Component planes after TfidfVectorizer"
    assert set(display.names) == set(" ".join(texts).split())


@pytest.mark.parametrize("weight", [10.0, 0.0])
def test_weights_of_a_column_transformer(weight):
    parts = [("a", StandardScaler(), NAMES[:2]), ("b", StandardScaler(), NAMES[2:4])]
    plain, weighted = (
        make_pipeline(ColumnTransformer(parts, transformer_weights=weights), TFSOM((4, 3)))
        for weights in (None, {"a": weight})
    )
    display = displays.ComponentPlanesDisplay.from_estimator(weighted.fit(FEW))
    codebook = weighted[-1].codebook_.copy()
    if weight:
        codebook[:, :2] /= weight
    own = plain.fit(FEW)[0].transformers_
    for columns, (_, scaler, _) in zip((slice(0, 2), slice(2, 4)), own, strict=True):
        if weight or columns.start:
            expected = scaler.inverse_transform(codebook[:, columns])
            assert_allclose(display.planes[:, columns], expected)
    assert display.value_unit == ("data units" if weight else "after StandardScaler")


def test_columns_are_turned_back_as_far_as_they_can_be():
    inner = make_pipeline(Normalizer(), StandardScaler())
    columns = ColumnTransformer([("a", inner, NAMES[:4])], transformer_weights={"a": 10})
    display, expected = (
        displays.ComponentPlanesDisplay.from_estimator(make_pipeline(step, TFSOM((6, 5))).fit(FEW))
        for step in (columns, inner)
    )
    assert display.value_unit == expected.value_unit == "after Normalizer"
    assert_allclose(display.planes, expected.planes, rtol=1e-6)


@pytest.mark.parametrize("columns", [slice(0, 4), slice("alcohol", NAMES[3]), [True] * 4])
def test_names_of_columns_chosen_by_slices_and_masks(columns):
    step = ColumnTransformer([("s", StandardScaler(), columns)], transformer_weights={"s": None})
    pipeline = make_pipeline(step, TFSOM((4, 3))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.names == NAMES[:4] and display.value_unit == "data units"


@pytest.mark.parametrize("name", ["CodeVectorsDisplay", "ComponentPlanesDisplay"])
def test_inverse_that_takes_only_data_frames(name):
    step = FunctionTransformer(lambda X: np.log1p(X[NAMES[:4]]), lambda X: np.expm1(X[NAMES[:4]]))
    pipeline = make_pipeline(step, TFSOM((4, 3))).fit(FEW)
    display = getattr(displays, name).from_estimator(pipeline)
    assert display.value_unit == "after FunctionTransformer"


def test_column_transformer_with_an_empty_selection():
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_include="category")),
        (SimpleImputer(), make_column_selector(dtype_include="category")),
    )
    pipeline = make_pipeline(columns, TFSOM((4, 3))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.value_unit == "data units" and display.names == NAMES[:4]


def test_separation_of_units_of_a_pipeline(pipeline):
    _, expected = metrics.separation_curve(pipeline[-1])
    assert_array_equal(metrics.separation_curve(pipeline, None)[1], expected)
    display = displays.SeparationCurveDisplay.from_estimator(pipeline)
    assert_array_equal(display.separations, expected)


def test_values_that_cannot_be_turned_back_are_left_out():
    """A power has no value for what PCA leaves below its range."""
    rng = np.random.RandomState(0)
    skewed = np.exp(rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)) * 2)
    pipeline = make_pipeline(PowerTransformer("box-cox"), PCA(2), TFSOM((5, 4))).fit(skewed)
    step = FunctionTransformer(
        np.sqrt, lambda X: np.where(X > X.mean(), X**2, np.nan), check_inverse=False
    )
    pipeline = make_pipeline(step, *[each for _, each in pipeline.steps]).fit(skewed)
    title = displays.CodeVectorsDisplay.from_estimator(pipeline, kind="line").ax_.get_title()
    assert "nan" not in title
    displays.ComponentPlanesDisplay.from_estimator(pipeline, put_similar_together=True)


def test_infinite_inverses_are_left_out():
    values = np.linspace(0, 1, 12)
    step = FunctionTransformer(np.tanh, np.arctanh, check_inverse=False)
    som = TFSOM.from_codebook(np.column_stack([values, values / 2]), grid_size=(4, 3))
    planes = displays.ComponentPlanesDisplay.from_estimator(make_pipeline(step, som))
    assert_allclose(planes.planes[:-1, 0], np.arctanh(values[:-1]))
    assert np.isnan(planes.planes[-1, 0])
    assert planes.cells_[0].get_clim() == pytest.approx((0, np.arctanh(values[-2])))
    lines = displays.CodeVectorsDisplay.from_estimator(make_pipeline(step, som))
    assert "inf" not in lines.ax_.get_title()
    values = np.array([[1.0], [2], [3], [np.inf]])
    built = displays.ComponentPlanesDisplay(values, Grid(2, 2), ["x"])
    assert built.plot().cells_[0].get_clim() == (1, 3)


def test_samplers_are_skipped(pipeline):
    with_sampler = WRAPPED["sampler"](pipeline)
    assert metrics.purity(with_sampler, X, y) == metrics.purity(pipeline, X, y)
    planes, expected = (
        displays.ComponentPlanesDisplay.from_estimator(each) for each in (with_sampler, pipeline)
    )
    assert planes.value_unit == expected.value_unit == "data units"
    assert_array_equal(planes.planes, expected.planes)
    model = pipeline[-1].to_keras(preprocessing=with_sampler[:-1], outputs=("bmu",))
    found = model(X.to_numpy(np.float32))["bmu"]
    assert_array_equal(found, pipeline[-1].bmus(pipeline[:-1].transform(X)))


@pytest.mark.parametrize(
    "imputer", [SimpleImputer(), KNNImputer(), IterativeImputer(tol=1e6)], ids=repr
)
@pytest.mark.parametrize("is_first", [True, False])
def test_imputers_leave_columns_in_their_units(imputer, is_first):
    steps = [imputer, StandardScaler()] if is_first else [StandardScaler(), imputer]
    gappy = FEW.where(FEW.index.to_numpy()[:, None] % 7 != np.arange(4))
    pipeline = make_pipeline(*steps, TFSOM((6, 5))).fit(gappy)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.names == NAMES[:4] and display.value_unit == "data units"
    scaler = pipeline.named_steps["standardscaler"]
    assert_allclose(display.planes, scaler.inverse_transform(pipeline[-1].codebook_))


@pytest.mark.parametrize(
    "step", [SimpleImputer(), KNNImputer(), FunctionTransformer(), SelectKBest(k=3)], ids=repr
)
def test_steps_that_leave_units_alone_are_not_named(step):
    columns = ColumnTransformer([("s", StandardScaler(), [0, 1])], remainder="passthrough")
    pipeline = make_pipeline(step, columns, TFSOM((4, 3))).fit(FEW, y)
    planes = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert planes.value_unit == "data units"
    pipeline = make_pipeline(step, TFSOM((4, 3))).fit(FEW, y)
    assert displays.UMatrixDisplay.from_estimator(pipeline).distance_unit == "data units"
    pipeline = make_pipeline(StandardScaler(), step, TFSOM((4, 3))).fit(FEW, y)
    unit = displays.UMatrixDisplay.from_estimator(pipeline).distance_unit
    assert unit == "units after StandardScaler"


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("is_part", [False, True])
def test_imputer_that_drops_a_column_hides_no_scaler(is_part):
    steps = make_pipeline(StandardScaler(), SimpleImputer())
    columns = ColumnTransformer([("p", steps, NAMES[:4])]) if is_part else steps
    data = FEW.assign(**{NAMES[0]: np.nan})
    pipeline = make_pipeline(columns, TFSOM((4, 3))).fit(data)
    planes = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert planes.value_unit == "after StandardScaler"
    assert_array_equal(planes.planes, pipeline[-1].codebook_)


@pytest.mark.parametrize("steps", [[], [StandardScaler()], [SimpleImputer(), StandardScaler()]])
def test_features_without_names_have_one_name(steps):
    data = FEW.to_numpy()
    pipeline = make_pipeline(*steps, TFSOM((4, 3))).fit(data)
    planes = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert planes.names == ["feature 0", "feature 1", "feature 2", "feature 3"]
    space = displays.DataSpaceDisplay.from_estimator(pipeline, data, features=planes.names[1:3])
    unit = " (after StandardScaler)" if steps else ""
    assert list(space.axis_names) == [f"{name}{unit}" for name in planes.names[1:3]]


def test_names_like_made_up_ones_are_kept():
    data = FEW.set_axis(["x0", "x1", "x2", "x3"], axis=1)
    pipeline = make_pipeline(StandardScaler(), TFSOM((4, 3))).fit(data)
    space = displays.DataSpaceDisplay.from_estimator(pipeline, data, features=["x0", "x2"])
    assert list(space.axis_names) == ["x0 (after StandardScaler)", "x2 (after StandardScaler)"]


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_inverse_to_another_number_of_columns():
    step = FunctionTransformer(
        lambda X: np.asarray(X)[:, :2],
        inverse_func=lambda X: np.hstack([X, X]),
        check_inverse=False,
    )
    pipeline = make_pipeline(step, TFSOM((4, 3))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.planes.shape == (12, 4)


def test_inverse_of_a_function_is_taken():
    step = FunctionTransformer(np.log1p, inverse_func=np.expm1)
    pipeline = make_pipeline(step, FunctionTransformer(), TFSOM((6, 5))).fit(FEW)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.value_unit == "data units"
    assert_allclose(display.planes, np.expm1(pipeline[-1].codebook_))


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_features_that_are_not_selected_have_no_planes():
    selector = SelectKBest(lambda X, y: np.array([1, 4, 2, 3.0]), k=2)
    for steps in ([selector], [StandardScaler(), selector], [selector, StandardScaler()]):
        pipeline = make_pipeline(*steps, TFSOM((6, 5))).fit(FEW, y)
        display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
        assert display.names == [NAMES[1], NAMES[3]] and display.value_unit == "data units"
        hits = pipeline[-1].hits_
        means = hits @ display.planes / hits.sum()
        assert_allclose(means, FEW[display.names].mean(), rtol=0.05)
    # A component that is left out is at its mean, as PCA leaves it.
    for steps in ([PCA(), selector], [PCA(), MinMaxScaler(), selector]):
        pipeline = make_pipeline(*steps, TFSOM((6, 5))).fit(FEW, y)
        display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
        assert display.names == NAMES[:4] and display.value_unit == "data units"
        hits = pipeline[-1].hits_
        assert_allclose(hits @ display.planes / hits.sum(), FEW.mean(), rtol=0.05)
    # No other decomposition leaves them at the mean.
    pipeline = make_pipeline(TruncatedSVD(3), SelectKBest(k=2), TFSOM((4, 3))).fit(FEW, y)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.value_unit == "after TruncatedSVD"


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize(
    "step", [TruncatedSVD(4), PCA(), FastICA(random_state=0)], ids=lambda step: type(step).__name__
)
def test_components_that_are_not_selected_of_a_column_transformer(step, k):
    selector = SelectKBest(lambda X, y: np.array([1, 4, 2, 3.0]), k=k)
    columns = ColumnTransformer([("p", step, NAMES[:4])])
    display, expected = (
        displays.ComponentPlanesDisplay.from_estimator(
            make_pipeline(first, selector, TFSOM((4, 3))).fit(FEW, y)
        )
        for first in (columns, step)
    )
    assert display.value_unit == expected.value_unit
    assert [name.removeprefix("p__") for name in display.names] == expected.names
    assert_allclose(display.planes, expected.planes, atol=1e-9)


@pytest.mark.parametrize("step", [TruncatedSVD(2), PCA()], ids=lambda step: type(step).__name__)
def test_transformer_of_which_nothing_is_selected(step):
    columns = make_column_transformer((step, NAMES[:2]), (StandardScaler(), NAMES[2:4]))
    selector = SelectKBest(lambda X, y: np.array([1, 2, 3, 4.0]), k=2)
    pipeline = make_pipeline(columns, selector, TFSOM((6, 5))).fit(FEW, y)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    assert display.names == NAMES[2:4] and display.value_unit == "data units"
    scaler = pipeline[0].named_transformers_["standardscaler"]
    assert_allclose(display.planes, scaler.inverse_transform(pipeline[-1].codebook_))


def test_columns_of_a_column_transformer():
    data = X.assign(color=np.where(y == 0, "red", "white"))
    columns = make_column_transformer(
        (StandardScaler(), NAMES[:3]),
        (OneHotEncoder(), ["color"]),
        (make_pipeline(MinMaxScaler(), StandardScaler()), [5, 4]),
        (Normalizer(), NAMES[7:9]),
        ("passthrough", [NAMES[10]]),
        remainder="drop",
    )
    pipeline = make_pipeline(columns, TFSOM((5, 4))).fit(data)
    display = displays.ComponentPlanesDisplay.from_estimator(pipeline)
    one_hot = ["onehotencoder__color_red", "onehotencoder__color_white"]
    normalized = [f"normalizer__{name}" for name in NAMES[7:9]]
    expected = [*NAMES[:3], *one_hot, NAMES[5], NAMES[4], *normalized, NAMES[10]]
    assert display.names == expected
    assert display.title == "Component planes after OneHotEncoder, Normalizer"
    hits = pipeline[-1].hits_
    means = hits @ display.planes / hits.sum()
    original = [name for name in expected if name in NAMES]
    index = [expected.index(name) for name in original]
    assert_allclose(means[index], X[original].mean(), rtol=0.05)


def test_scaled_distances_say_so(pipeline):
    display = displays.UMatrixDisplay.from_estimator(pipeline)
    assert display.colorbar_.ax.get_ylabel() == (
        "distance to neighbors (units after StandardScaler)"
    )


@pytest.mark.parametrize(
    ("shape", "steps", "unit"),
    [
        ((5, 8), [StandardScaler()], "units after StandardScaler"),
        ((8, 6), [FunctionTransformer(np.log1p), StandardScaler()], "units after 2 steps"),
        ((12, 1), [StandardScaler()], "units after StandardScaler"),
    ],
    ids=["one step", "two steps", "column"],
)
def test_units_fit_into_the_figures(shape, steps, unit):
    pipeline = make_pipeline(*steps, TFSOM(shape, max_iter=3)).fit(X)
    maps = displays.UMatrixDisplay.from_estimator(pipeline)
    training = displays.TrainingDisplay.from_estimator(pipeline)
    assert maps.distance_unit == training.distance_unit == unit
    for display in (
        maps,
        training,
        displays.AnomalyMapDisplay.from_estimator(pipeline, X),
        displays.MapOverviewDisplay.from_estimator(pipeline, X, y),
    ):
        assert_texts_fit_and_do_not_overlap(display.figure_)


def test_what_is_no_map_is_refused():
    scaler = make_pipeline(StandardScaler()).fit(X)
    with pytest.raises(TypeError, match=r"UMatrixDisplay.from_estimator needs a TFSOM, or a Pipe"):
        displays.UMatrixDisplay.from_estimator(scaler)
    with pytest.raises(TypeError, match=r"purity needs a TFSOM, or a Pipeline that ends in one"):
        metrics.purity(scaler, X, y)
    with pytest.raises(TypeError, match=r"Got an array of shape \(178, 13\)"):
        metrics.purity(np.asarray(X), TFSOM(2), y)
    with pytest.raises(NotFittedError):
        displays.UMatrixDisplay.from_estimator(make_pipeline(StandardScaler(), TFSOM()))
    search = GridSearchCV(TFSOM(max_iter=2), {"grid_size": [2]}, refit=False, cv=2)
    with pytest.raises(NotFittedError, match="This GridSearchCV instance is not fitted yet"):
        metrics.quantization_error(search, FEW)
    with pytest.raises(TypeError, match="quantization_error needs a search with refit=True"):
        metrics.quantization_error(search.fit(FEW), FEW)


MIXED = {
    "texts and None": (["b", None, "a", "b"], ["a", "b", "missing"], [1, 2, 0, 1]),
    "numbers and NaN": ([2.0, np.nan, 1, 2], ["1", "2", "missing"], [1, 2, 0, 1]),
    "numbers and texts": ([10, "x", 9, "10"], ["9", "10", "'10'", "x"], [1, 3, 0, 2]),
    "categories": (
        pd.Categorical(["low", "high", None, "low"], ["low", "mid", "high"], ordered=True),
        ["low", "high", "missing"],
        [0, 1, 2, 0],
    ),
    "NA": (pd.array([3, None, 1, 3], dtype="Int64"), ["1", "3", "missing"], [1, 2, 0, 1]),
    "large integers and NA": (
        pd.array([10**18 + 2, None, 10**18 + 1, 10**18 + 2], dtype="Int64"),
        ["1000000000000000001", "1000000000000000002", "missing"],
        [1, 2, 0, 1],
    ),
    "integers beyond int64": ([2**64 - 1, 5, 2**70, 5], [5, 2**64 - 1, 2**70], [1, 0, 2, 0]),
    "unsigned integers": (
        np.array([2**64 - 1, 5, 2**64 - 2, 5], dtype=np.uint64),
        [5, 2**64 - 2, 2**64 - 1],
        [2, 0, 1, 0],
    ),
    "infinite numbers": (
        [np.inf, 1, -np.inf, 1e30],
        ["-inf", "1.0", "1e+30", "inf"],
        [3, 1, 0, 2],
    ),
    "booleans": ([True, False, True, None], ["False", "True", "missing"], [1, 0, 1, 2]),
    "dates": (
        np.array(["2020-01-02", "NaT", "2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
        ["2020-01-01", "2020-01-02", "missing"],
        [1, 2, 0, 1],
    ),
    "times in nanoseconds": (
        np.array(["2020-01-02", "NaT", "2020-01-01", "2020-01-02"], dtype="datetime64[ns]"),
        ["2020-01-01 00:00:00", "2020-01-02 00:00:00", "missing"],
        [1, 2, 0, 1],
    ),
    "times of a zone": (
        pd.to_datetime(["2020-01-02", None, "2020-01-01", "2020-01-02"]).tz_localize("Asia/Tokyo"),
        ["2020-01-01 00:00:00+09:00", "2020-01-02 00:00:00+09:00", "missing"],
        [1, 2, 0, 1],
    ),
}


@pytest.mark.parametrize("given", MIXED.values(), ids=MIXED)
def test_labels_of_any_kind(given):
    labels, names, codes = given
    data = np.arange(8.0).reshape(4, 2)
    som = TFSOM((2, 2)).fit(data)
    names = [str(name) for name in names]
    classes, counts = metrics.class_counts(som, data, labels)
    assert [str(label) for label in classes] == [name.strip("'") for name in names]
    expected = np.zeros((4, len(names)))
    np.add.at(expected, (som.bmus(data), codes), 1)
    assert_array_equal(counts, expected)
    display = displays.HitMapDisplay.from_estimator(som, data, labels)
    assert_array_equal(display.hits, expected)
    assert display.classes == names


@pytest.mark.parametrize("given", MIXED.values(), ids=MIXED)
def test_labels_in_a_frame_of_one_column(given):
    column = pd.Series(given[0])
    data = np.arange(8.0).reshape(4, 2)
    som = TFSOM((2, 2)).fit(data)
    classes, counts = metrics.class_counts(som, data, column)
    found, found_counts = metrics.class_counts(som, data, column.to_frame())
    assert [(type(label), label) for label in found] == [(type(label), label) for label in classes]
    assert_array_equal(found_counts, counts)
    groups = [
        displays.TrajectoryDisplay.from_estimator(som, data, groups=each).group_names
        for each in (column, column.to_frame())
    ]
    assert groups[0] == groups[1]


@pytest.mark.parametrize(
    "scaler", [StandardScaler(copy=False), MinMaxScaler(copy=False), RobustScaler(copy=False)]
)
def test_displays_leave_the_codebook_as_it_is(scaler):
    pipeline = make_pipeline(scaler, TFSOM((5, 4))).fit(FEW.to_numpy(copy=True))
    before = pipeline[-1].codebook_.copy()
    for name in ("ComponentPlanesDisplay", "CodeVectorsDisplay", "MapOverviewDisplay"):
        getattr(displays, name).from_estimator(pipeline)
    assert_array_equal(pipeline[-1].codebook_, before)
