"""Conventions of all displays: signatures, documentation, axes, errors and side effects.

A new display in `displays.__all__` is tested here without further changes.
"""

import functools
import inspect
import pickle
import re
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

matplotlib.use("agg")

import matplotlib.pyplot as plt

from sklearn_tfsom import TFSOM, InvalidParameterError, displays

# The interactive map draws no figure; it has tests of its own.
ALL = [getattr(displays, name) for name in displays.__all__ if "Interactive" not in name]

# The overview draws a figure of its own; all other displays accept axes.
WITH_AX = [kind for kind in ALL if kind is not displays.MapOverviewDisplay]

# Their axes are scales of values; those of all others are the lattice.
GRAPHS = [displays.DataSpaceDisplay, displays.SeparationCurveDisplay, displays.TrainingDisplay]

DOCS = Path(__file__).resolve().parent.parent / "docs"
X, CODES = load_iris(return_X_y=True)
Y = (CODES == 0).astype(int)  # valid for all displays that take classes


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


def test_every_display_has_a_test_of_its_own():
    paths = [
        *Path(__file__).parent.glob("test_displays_*.py"),
        Path(__file__).parent / "test_viewer.py",
    ]
    texts = "".join(path.read_text() for path in paths)
    assert [name for name in displays.__all__ if name not in texts] == []


@functools.cache
def fitted(shape=(6, 5), n_features=4, **params):
    return TFSOM(shape, max_iter=3, **params).fit(X[:, :n_features])


@pytest.fixture
def som():
    return fitted(n_clusters=3)


def sections(docstring):
    """Return the entries of each numpydoc section as a dict from names to texts."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(docstring), flags=re.MULTILINE)
    found = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        entries = re.split(r"^(\S.*?)(?: : .*)?\n", body, flags=re.MULTILINE)
        pairs = zip(entries[1::2], entries[2::2], strict=True)
        found[title] = {name: text for names, text in pairs for name in names.split(", ")}
    return found


def parameters_of(method):
    """Return the parameters of a method by name, without self."""
    parameters = dict(inspect.signature(method).parameters)
    parameters.pop("self", None)
    return parameters


def reads(kind, name):
    """Return True if a display uses the data argument `name`, "X" or "y"."""
    parameters = sections(kind.from_estimator.__doc__)["Parameters"]
    name = "values" if name == "y" and "values" in parameters else name
    return "Ignored" not in parameters[name]


def axes_of(display):
    """Return the axes of a display as an array."""
    return np.ravel(display.ax_ if hasattr(display, "ax_") else display.axes_)


def pixels(figure):
    figure.figure.canvas.draw()
    return np.asarray(figure.figure.canvas.buffer_rgba()).copy()


class Drawing(NamedTuple):
    """A display, and what `from_estimator` left behind, also if the display is drawn again."""

    display: object
    attributes: set
    axes: np.ndarray
    figure: object
    pixels: np.ndarray
    open_figures: list
    empty_figure: object
    random_states: list


@functools.cache
def drawn(kind):
    """Draw a display beside an empty figure, once for all tests that look at the result."""
    plt.close("all")  # what the test that comes first has drawn
    empty_figure = plt.figure()
    np.random.seed(3)
    random_states = [np.random.get_state()[1].copy()]
    display = kind.from_estimator(fitted(n_clusters=3), X, Y)
    random_states.append(np.random.get_state()[1].copy())
    return Drawing(
        display=display,
        attributes={name for name in vars(display) if name.endswith("_")},
        axes=axes_of(display),
        figure=display.figure_,
        pixels=pixels(display.figure_),
        open_figures=[plt.figure(number) for number in plt.get_fignums()],
        empty_figure=empty_figure,
        random_states=random_states,
    )


@pytest.mark.parametrize("kind", ALL)
class TestSignatures:
    def test_from_estimator(self, kind):
        """As in scikit-learn: estimator and data first, all else keyword-only."""
        first, *others = parameters_of(kind.from_estimator).values()
        assert inspect.ismethod(kind.from_estimator) and first.name == "estimator"
        names = [parameter.name for parameter in others[:2]]
        assert names in (["X", "y"], ["X", "values"])
        if names[1] == "y":  # a display of values has nothing to draw without them
            assert others[1].default is None
        assert {parameter.kind for parameter in others[2:]} == {inspect.Parameter.KEYWORD_ONLY}

    def test_plot(self, kind):
        parameters = parameters_of(kind.plot)
        assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
        given = parameters_of(kind.from_estimator)
        for name, parameter in parameters.items():
            assert given[name].default is not inspect.Parameter.empty
            assert given[name].default == parameter.default

    def test_ax(self, kind):
        for method in (kind.plot, kind.from_estimator):
            if kind in WITH_AX:
                assert parameters_of(method)["ax"].default is None
            else:
                assert "ax" not in parameters_of(method)


@pytest.mark.parametrize("kind", ALL)
class TestDocumentation:
    def test_summary(self, kind):
        for documented in (kind, kind.from_estimator, kind.plot):
            summary, blank, *_ = inspect.cleandoc(documented.__doc__).split("\n")
            assert summary.endswith(".") and not blank
            assert "%(" not in documented.__doc__

    def test_all_parameters_are_documented(self, kind):
        for documented in (kind, kind.from_estimator, kind.plot):
            described = sections(documented.__doc__)["Parameters"]
            assert list(described) == list(parameters_of(documented))
            for name, text in described.items():
                assert 1 <= len(text.strip().splitlines()) <= 5, name

    def test_methods_document_what_they_return(self, kind):
        for method in (kind.from_estimator, kind.plot):
            assert kind.__name__ in re.findall(r"Returns\n-+\n.+", method.__doc__)[0]

    def test_all_attributes_are_documented(self, kind):
        described = sections(kind.__doc__)["Attributes"]
        assert set(described) == drawn(kind).attributes
        assert "figure_" in described
        assert ("ax_" in described) != ("axes_" in described)

    def test_example(self, kind):
        """The example draws the display; doctest runs it."""
        (example,) = re.findall(r"Examples\n-+\n(.+)", kind.__doc__, flags=re.DOTALL)
        assert f">>> from sklearn_tfsom.displays import {kind.__name__}" in example
        assert f"{kind.__name__}.from_estimator(" in example

    def test_link_to_the_user_guide(self, kind):
        (label,) = re.findall(r"Read more in the :ref:`User Guide <(\w+)>`", kind.__doc__)
        pages = [path.read_text() for path in DOCS.glob("guide/*.rst")]
        assert any(f"\n.. _{label}:\n" in f"\n{page}" for page in pages)


@pytest.mark.parametrize("kind", ALL)
class TestFigure:
    def test_new_figure_without_ax(self, kind):
        first = drawn(kind)
        assert first.open_figures == [first.empty_figure, first.figure]
        assert not first.empty_figure.axes
        assert all(ax.figure.figure is first.figure for ax in first.axes)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("engine", ["figure.constrained_layout.use", "figure.autolayout"])
    def test_layout_engines_of_the_user(self, kind, som, engine):
        with plt.rc_context({engine: True}):
            kind.from_estimator(som, X, Y).figure_.draw_without_rendering()

    def test_plot_again_on_a_dark_background(self, kind):
        display, first = drawn(kind).display, drawn(kind).figure
        with plt.style.context("dark_background"):
            assert display.plot() is display
        assert display.figure_ is not first
        assert [len(ax.collections) for ax in display.figure_.axes] == [
            len(ax.collections) for ax in first.axes
        ]
        titles = [ax.title for ax in display.figure_.axes if ax.title.get_text()]
        assert titles and {title.get_color() for title in titles} == {"white"}

    @pytest.mark.parametrize("style", ["default", "dark_background"])
    def test_transparent_figure(self, kind, style):
        """It looks the same as one in the color of the page."""
        display = drawn(kind).display
        with plt.style.context([style, {"figure.dpi": 50}]):
            page = 255 * np.array(to_rgb(plt.rcParams["figure.facecolor"]))
            expected = pixels(display.plot().figure_)
            plt.rcParams["figure.facecolor"] = "none"
            found = pixels(display.plot().figure_).astype(np.float64)
        alpha = found[:, :, 3:] / 255
        shown = alpha * found[:, :, :3] + (1 - alpha) * page
        assert_allclose(shown, expected[:, :, :3], rtol=0, atol=12)  # of many layers

    def test_equal_figures_for_equal_calls(self, kind, som):
        first = drawn(kind)
        second = kind.from_estimator(som, X, Y).figure_
        assert_array_equal(pixels(second), first.pixels)


# Overviews of such maps and data have tests of their own, in test_displays_classes.py.
@pytest.mark.parametrize("kind", WITH_AX)
class TestMapsAndData:
    @pytest.mark.parametrize(
        ("shape", "lattice"),
        [
            ((1, 12), "hexagonal"),
            ((12, 1), "rectangular"),
            ((2, 2), "hexagonal"),
            ((1, 1), "rectangular"),
        ],
    )
    def test_maps_of_unusual_shape(self, kind, shape, lattice):
        som = fitted(shape, n_features=2, lattice=lattice, boundary="toroidal")
        kind.from_estimator(som, X[:, :2], Y).figure_.draw_without_rendering()

    def test_missing_values(self, kind):
        is_missing = np.random.RandomState(0).uniform(size=X.shape) < 0.15
        is_missing[:, 0] &= ~is_missing.all(axis=1)
        samples = np.where(is_missing, np.nan, X)
        som = TFSOM((4, 5), max_iter=3).fit(samples)
        kind.from_estimator(som, samples, Y).figure_.draw_without_rendering()

    def test_sparse_samples(self, kind, som):
        kind.from_estimator(som, csr_matrix(X), Y)


@pytest.mark.parametrize("kind", WITH_AX)
class TestAxes:
    def test_given_axes(self, kind, som):
        n_axes = len(drawn(kind).axes)
        plt.close("all")
        figure, axes = plt.subplots(1, n_axes + 1)
        size = figure.get_size_inches()
        first = kind.from_estimator(som, X, Y, ax=axes[0] if n_axes == 1 else axes[:n_axes])
        assert_array_equal(axes_of(first), axes[:n_axes])
        assert first.figure_ is figure and plt.get_fignums() == [figure.number]
        assert not (axes[-1].collections or axes[-1].lines or axes[-1].images)
        assert_array_equal(figure.get_size_inches(), size)

    @pytest.mark.filterwarnings("error")
    def test_tight_layout(self, kind, som):
        n_axes = len(drawn(kind).axes)
        plt.close("all")
        figure, axes = plt.subplots(1, n_axes + 1, figsize=(4 * n_axes + 4, 4))
        kind.from_estimator(som, X, Y, ax=axes[0] if n_axes == 1 else axes[:n_axes])
        figure.tight_layout()

    def test_axes_of_a_subfigure(self, kind):
        display, n_axes = drawn(kind).display, len(drawn(kind).axes)
        subfigure, _ = plt.figure(figsize=(12, 5)).subfigures(1, 2)
        axes = subfigure.subplots(1, n_axes, squeeze=False)[0]
        display.plot(ax=axes[0] if n_axes == 1 else axes)
        assert_array_equal(axes_of(display), axes)
        assert display.figure_ is subfigure

    def test_color_of_a_subfigure(self, kind):
        display, n_axes = drawn(kind).display, len(drawn(kind).axes)
        found = []
        for outer, inner in (("navy", "none"), ("white", "navy")):
            subfigure = plt.figure(facecolor=outer).subfigures(facecolor=inner)
            axes = subfigure.subplots(1, n_axes, squeeze=False)[0]
            display.plot(ax=axes[0] if n_axes == 1 else axes)
            found.append(pixels(subfigure))
        assert_array_equal(*found)


@pytest.mark.parametrize("kind", ALL)
class TestErrors:
    def test_not_fitted(self, kind):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            kind.from_estimator(TFSOM(), X, Y)
        assert plt.get_fignums() == []

    def test_no_map(self, kind):
        with pytest.raises(TypeError, match=rf"^{kind.__name__}\.from_estimator needs a TFSOM"):
            kind.from_estimator(PCA().fit(X), X, Y)

    def test_wrong_number_of_features(self, kind, som):
        if not reads(kind, "X"):
            kind.from_estimator(som, X[:, :2], Y)
            return
        with pytest.raises(ValueError, match="X has 2 features, but TFSOM is expecting 4"):
            kind.from_estimator(som, X[:, :2], Y)
        assert plt.get_fignums() == []

    def test_wrong_length_of_y(self, kind, som):
        if not reads(kind, "y"):
            kind.from_estimator(som, X, Y[1:])
            return
        _, _, name, *_ = parameters_of(kind.from_estimator)  # of classes or of numbers
        message = rf"150 samples in {name}\.|^The '{name}' .* of shape .*\(150,\)\."
        # Before the search, in which samples that are too large have an error of their own.
        for samples in (X, 1e200 * X):
            with pytest.raises(ValueError, match=rf"({message}) Got shape \(149,\)"):
                kind.from_estimator(som, samples, Y[1:])
        assert plt.get_fignums() == []

    def test_wrong_appearance(self, kind, som):
        """The error names the argument, before anything is drawn."""
        wrong = {
            "ax": "main", "between": "yes", "border_color": "no color", "clim": (2, 1),
            "cmap": "no", "color": "no color", "colorbar": None, "legend": 3, "net_color": 4,
            "put_similar_together": 1, "share_scale": "x", "texts": "yes", "title": None,
        }  # fmt: skip
        display = kind.from_estimator(som, X, Y)
        plt.close("all")
        for method in (kind.from_estimator, display.plot):
            given = inspect.signature(method).parameters
            arguments = (som, X, Y) if method != display.plot else ()
            for name in wrong.keys() & given.keys():
                message = f"The '{name}' parameter of {kind.__name__}.{method.__name__} must be"
                if name == "ax":
                    message = f"The 'ax' parameter of {kind.__name__}"
                with pytest.raises(ValueError, match=message):
                    method(*arguments, **{name: wrong[name]})
                assert plt.get_fignums() == []

    @pytest.mark.parametrize("projection", ["polar", "3d"])
    def test_projections_are_refused(self, kind, som, projection):
        display = drawn(kind).display
        if "ax" not in inspect.signature(display.plot).parameters:
            return
        ax = plt.figure().add_subplot(projection=projection)
        message = rf"The 'ax' parameter of {kind.__name__}.* must be an? .*rectilinear .* Got <"
        with pytest.raises(InvalidParameterError, match=message):
            display.plot(ax=[ax] if display._has_many_axes else ax)
        assert not ax.collections

    @pytest.mark.parametrize("axis", ["x", "y"])
    def test_maps_are_not_drawn_in_logarithms(self, kind, axis):
        display = drawn(kind).display
        if "ax" not in inspect.signature(display.plot).parameters or kind in GRAPHS:
            return
        _, ax = plt.subplots()
        ax.set(**{f"{axis}scale": "log"})
        message = rf"The 'ax' parameter of {kind.__name__}.* Axes of linear scales.* Got <Axes"
        with pytest.raises(InvalidParameterError, match=message):
            display.plot(ax=[ax] if display._has_many_axes else ax)
        assert not ax.collections

    def test_removed_axes_are_refused(self, kind):
        display = drawn(kind).display
        if "ax" not in inspect.signature(display.plot).parameters:
            return
        _, ax = plt.subplots()
        ax.remove()
        message = rf"The 'ax' parameter of {kind.__name__}.* must be an? .* Got <"
        with pytest.raises(InvalidParameterError, match=message):
            display.plot(ax=[ax] if display._has_many_axes else ax)

    def test_figure_can_be_pickled(self, kind, som):
        display = kind.from_estimator(som, X, Y)
        if not hasattr(display, "figure_"):
            return
        display.figure_.draw_without_rendering()
        figure = pickle.loads(pickle.dumps(display.figure_))
        figure.draw_without_rendering()
        for one, other in zip(display.figure_.axes, figure.axes, strict=True):
            # The layout is run again, from where it was.
            assert_allclose(one.get_position().bounds, other.get_position().bounds, atol=1e-3)

    def test_missing_matplotlib(self, kind, som, monkeypatch):
        display = drawn(kind).display
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            monkeypatch.setitem(sys.modules, name, None)
        for draw in (functools.partial(kind.from_estimator, som, 1e200 * X, Y), display.plot):
            with pytest.raises(ImportError, match=r"pip install 'sklearn-tfsom\[plot\]'"):
                draw()


@pytest.mark.parametrize("kind", ALL)
def test_global_random_state_is_not_changed(kind):
    before, after = drawn(kind).random_states
    assert_array_equal(after, before)


def test_api_reference_includes_the_list_of_displays():
    """The list is written by docs/conf.py."""
    assert "\n.. include:: _displays.rst\n" in (DOCS / "api.rst").read_text()
