"""What the pictures show, read back from matplotlib's objects."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastals import ExplicitALS, ImplicitALS, Interactions, plots
from fastals.evaluation import Popularity, evaluate
from fastals.tuning import grid_search
from tests.helpers import split_of_liked

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(name="R", scope="module")
def interactions() -> sp.csr_array:
    rng = np.random.default_rng(0)
    return sp.csr_array((rng.random((30, 20)) < np.linspace(0, 0.6, 20)).astype(np.float32))


@pytest.fixture(scope="module")
def model(R) -> ImplicitALS:
    return ImplicitALS(factors=5, iterations=4, random_state=0).fit(R)


def drawn(ax) -> None:
    """Draw it all: some errors come only then."""
    ax.figure.canvas.draw()


def test_convergence_draws_each_history(R, model):
    ax = plots.convergence(model, [3.0, 2.0])
    drawn(ax)
    first, second = ax.get_lines()
    assert first.get_xdata().tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(first.get_ydata(), np.array(model.loss_history_) / 2.0 - 1.0)
    assert (second.get_xdata().tolist(), second.get_ydata().tolist()) == ([1], [0.5])  # the lowest loss is not drawn
    assert (ax.get_yscale(), ax.get_xlim()) == ("log", (0.5, 4.5))
    assert ax.get_title() == "Convergence to a loss of 2"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["model 1", "model 2"]
    assert plots.convergence(model).get_legend() is None


def test_convergence_of_one_loss_is_an_empty_picture():
    ax = plots.convergence([3.0])
    drawn(ax)
    assert len(ax.get_lines()[0].get_xdata()) == 0
    assert ax.get_title() == "Convergence to a loss of 3"


@pytest.mark.parametrize(
    ("models", "labels", "message"),
    [
        ([], None, "got 0 models"),
        ([[]], None, "model 1 has no loss to draw"),
        ([[1.0]], ["a", "b"], "got 1 models and 2 labels"),
        ([ImplicitALS()], None, "this ImplicitALS is not fitted yet"),
    ],
)
def test_convergence_refuses(models, labels, message):
    with pytest.raises(ValueError, match=message):
        plots.convergence(*models, labels=labels)


def test_embedding_is_the_principal_plane(R, model):
    ax = plots.embedding(model, R, n_labels=2, names=[f"item {i}" for i in range(20)])
    drawn(ax)
    (points,) = ax.collections
    counts = R.sum(axis=0)
    shown = np.flatnonzero(counts)
    assert len(shown) < 20  # the first item has no cells
    places = np.asarray(points.get_offsets())
    assert points.get_array().tolist() == counts[shown].tolist()
    # The covariance of the coordinates is diagonal with the two largest eigenvalues of the factors' covariance.
    values = np.linalg.eigvalsh(np.cov(model.item_factors_[shown].astype(float), rowvar=False))[::-1]
    np.testing.assert_allclose(np.cov(places, rowvar=False), np.diag(values[:2]), atol=1e-12 * values[0])
    for label, value in zip((ax.get_xlabel(), ax.get_ylabel()), values, strict=False):
        assert f"({value / values.sum():.1%}" in label
    most = shown[np.argsort(-counts[shown], kind="stable")[:2]]
    assert [text.get_text() for text in ax.texts] == [f"item {i}" for i in most]


@pytest.mark.parametrize(("counts", "least"), [([12, 14, 19], 3), ([1, 40, 400], 6)])
def test_colours_of_an_embedding_are_explained_in_whole_numbers(counts, least):
    R = (np.arange(400)[:, None] < np.array(counts)).astype(np.float32)
    model = ImplicitALS(factors=2, iterations=1, random_state=0).fit(R)
    ax = plots.embedding(model, R)
    drawn(ax)
    bar = ax.collections[0].colorbar.ax
    low, high = bar.get_ylim()
    told = [label.get_text() for label in bar.get_yticklabels(which="both") if low <= label.get_position()[1] <= high]
    told = [text for text in told if text]
    assert len(told) >= least and all(text.isdigit() for text in told)


def test_embedding_of_users_without_colours(R):
    model = ExplicitALS(factors=3, iterations=2, random_state=0).fit(R)
    ax = plots.embedding(model, side="user")
    drawn(ax)
    assert len(ax.collections[0].get_offsets()) == 30
    assert ax.get_title() == "User factors"


def test_embedding_refuses(R, model):
    with pytest.raises(ValueError, match="two factors"):
        plots.embedding(ImplicitALS(factors=1, iterations=1).fit(R))
    with pytest.raises(ValueError, match="side must be one of 'item', 'user', got 'both'"):
        plots.embedding(model, side="both")
    with pytest.raises(ValueError, match="n_labels needs R"):
        plots.embedding(model, n_labels=3)
    with pytest.raises(ValueError, match="is it transposed"):
        plots.embedding(model, R.T)
    with pytest.raises(ValueError, match=r"^names has 2 entries for 20 items of the model: pass one for each"):
        plots.embedding(model, R, names=["a", "b"])
    with pytest.raises(ValueError, match=r"^names has none of the items of the model, such as 0: its keys must be"):
        plots.embedding(model, R, names={"a": "Alien"})


def boxes(ax) -> list:
    """Where the names stand, in pixels, without their lines."""
    from matplotlib.text import Text

    renderer = ax.figure.canvas.get_renderer()
    return [Text.get_window_extent(text, renderer) for text in ax.texts]


def test_labels_do_not_overlap_and_lead_to_their_points(R):
    """Also with long names of items that lie close together, and in a narrow figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rng = np.random.default_rng(1)
    dense = sp.csr_array((rng.random((40, 30)) < 0.5).astype(np.float32))
    model = ImplicitALS(factors=3, iterations=1, random_state=0).fit(dense)
    names = [f"A rather long title, no. {number} $" for number in range(30)]
    for size, shown in (((6.4, 4.8), 12), ((4.0, 3.0), 5)):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        ax = plots.embedding(model, dense, n_labels=12, names=names, ax=figure.subplots())
        drawn(ax)
        found = boxes(ax)
        assert shown <= len(found) <= 12
        for place, box in enumerate(found):
            assert not any(box.overlaps(other) for other in found[:place])
            corners = ax.transAxes.inverted().transform(box)
            assert (corners >= 0).all() and (corners <= 1).all()
        places = {tuple(place) for place in ax.collections[0].get_offsets()}
        shown_items = np.flatnonzero(dense.sum(axis=0))
        for text in ax.texts:
            number = names.index(text.get_text())
            assert tuple(text.xy) == tuple(ax.collections[0].get_offsets()[shown_items.tolist().index(number)])
            assert tuple(text.xy) in places and text.arrow_patch is not None


def test_names_of_an_embedding_by_id(R):
    ids = np.array([f"i{number:02}" for number in range(20)])[::-1]
    shop = Interactions(R, item_ids=ids)
    model = ImplicitALS(factors=3, iterations=2, random_state=0).fit(shop)
    most = ids[np.argsort(-R.sum(axis=0), kind="stable")[:2]].tolist()
    ax = plots.embedding(model, shop, n_labels=2, names={most[0]: "The most popular item of all these"})
    assert [text.get_text() for text in ax.texts] == ["The most popular item of all th…", most[1]]


def test_degrees_count_those_with_at_least_as_many(R):
    panels = plots.degrees(R)
    drawn(panels[0])
    for ax, counts, name in zip(panels, (R.sum(axis=1), R.sum(axis=0)), ("user", "item"), strict=True):
        (line,) = ax.get_lines()
        for cells, number in zip(line.get_xdata(), line.get_ydata(), strict=True):
            assert np.count_nonzero(counts > cells) < number <= np.count_nonzero(counts >= cells)
        counts = counts[counts > 0]
        assert ax.get_title() == f"{len(counts)} {name}s, median {np.median(counts):g}"
        assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", f"interactions of the {name}")
        labels = [text.get_text() for text in ax.get_xticklabels()]
        assert {"5", "10"} <= set(labels) or {"1", "2", "5"} <= set(labels)
    with pytest.raises(ValueError, match="has no interactions to count"):
        plots.degrees(sp.csr_array((2, 2)))
    with pytest.raises(ValueError, match=r"^axes must be two, one for users and one for items, got 1"):
        plots.degrees(R, axes=panels[:1])


def test_cutoffs_draw_averages_and_intervals():
    train, test = split_of_liked()
    found = [
        evaluate(each.fit(train), test, k=[1, 3, 10], metrics=["ndcg", "recall"])
        for each in (Popularity(), ImplicitALS(factors=2, iterations=2, random_state=0))
    ]
    ax = plots.cutoffs(*found, metric="ndcg", labels=["popularity", "ALS"])
    drawn(ax)
    for line, band, each in zip(ax.get_lines(), ax.collections, found, strict=True):
        assert line.get_xdata().tolist() == [1, 3, 10]
        assert line.get_ydata().tolist() == [each.overall[f"ndcg@{k}"] for k in (1, 3, 10)]
        low, high = each.interval("ndcg@10")
        at_ten = [y for x, y in band.get_paths()[0].vertices if x == 10]
        assert (min(at_ten), max(at_ten)) == (low, high)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "3", "10"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["popularity", "ALS"]
    assert (ax.get_ylabel(), ax.get_title()) == ("NDCG", "NDCG by length of list, with 95% intervals")
    assert plots.cutoffs(found[0]).get_ylabel() == "recall"
    with pytest.raises(ValueError, match=r"^not all evaluations have the metric 'map': choose from recall, ndcg"):
        plots.cutoffs(*found, metric="map")
    with pytest.raises(ValueError, match=r"^got 0 evaluations and 0 labels"):
        plots.cutoffs()


def test_heat_map_of_a_search(R):
    grid = {"factors": [4, 2, -1], "regularization": [0.1, 1.0], "alpha": [1.0, 5.0]}
    turned = R[:, ::-1] - R[:, ::-1].multiply(R)  # what users do not have
    turned.eliminate_zeros()
    found = grid_search(ImplicitALS(iterations=2, random_state=0), grid, (R, turned.tocsr()), "recall@3")
    ax = plots.heat_map(found, "factors", "regularization")
    drawn(ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["-1", "2", "4"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0.1", "1"]
    cells = np.asarray(ax.images[0].get_array().filled(np.nan))
    assert np.isnan(cells[:, 0]).all()
    chosen = (found.table["factors"] == 4) & (found.table["regularization"] == 1.0)
    assert cells[1, 2] == found.table["score"][chosen].max()
    lowest = plots.heat_map(found.table, "factors", "regularization", best="min")
    assert lowest.images[0].get_array()[1, 2] == found.table["score"][chosen].min()
    assert len(ax.texts) == 4
    assert ax.get_title() == "recall@3, highest in the frame"
    assert ax.images[0].colorbar.ax.get_ylabel() == "recall@3"
    place = np.unravel_index(np.nanargmax(cells), cells.shape)
    assert cells[place] == found.best_score
    assert {(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in ax.patches} == {place}
    for (row, column), number in np.ndenumerate(cells):
        written = [text.get_text() for text in ax.texts if text.get_position() == (column, row)]
        assert written == ([f"{number:.4g}"] if np.isfinite(number) else [])
    assert lowest.get_title() == "score, lowest in the frame"
    with pytest.raises(ValueError, match="the table has no column 'factor': choose from factors, regularization"):
        plots.heat_map(found.table, "factor", "alpha")


def test_of_an_error_the_lowest_is_marked(R):
    found = grid_search(
        ExplicitALS(iterations=1, random_state=0),
        {"factors": [1, 2], "regularization": [0.1, 1.0]},
        (R, R + sp.eye(*R.shape, format="csr")),
        "rmse",
        refit=False,
    )
    ax = plots.heat_map(found, "factors", "regularization")
    assert ax.get_title() == "RMSE, lowest in the frame"
    cells = np.asarray(ax.images[0].get_array())
    place = np.unravel_index(np.argmin(cells), cells.shape)
    assert {(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in ax.patches} == {place}
    assert plots.heat_map(found, "factors", "regularization", "n_iter").get_title() == "n_iter, highest in the frame"


def test_axes_of_ones_own_are_used(R, model):
    from matplotlib.figure import Figure

    for draw in (
        lambda ax: plots.convergence(model, ax=ax),
        lambda ax: plots.embedding(model, R, ax=ax),
        lambda ax: plots.heat_map({"a": [1, 2], "b": ["x", "y"], "score": [0.5, np.nan]}, "a", "b", ax=ax),
    ):
        ax = Figure().subplots()
        assert draw(ax) is ax
        drawn(ax)
    axes = Figure().subplots(1, 2)
    assert plots.degrees(R, axes=axes) == tuple(axes)


def test_matplotlib_is_imported_when_something_is_drawn_only():
    code = "import sys, fastals.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_matplotlib_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'fastals\[plots\]'"):
        plots.convergence([1.0])


def test_embedding_by_ids(R, model):
    users, items = np.arange(30) + 100, np.array([f"item {number}" for number in range(20)])
    by_ids = ImplicitALS(factors=5, iterations=4, random_state=0).fit(Interactions(R, user_ids=users, item_ids=items))
    shuffled = Interactions(R[::-1, ::-1], user_ids=users[::-1], item_ids=items[::-1])
    want = plots.embedding(model, R, n_labels=3, names=items)
    got = plots.embedding(by_ids, shuffled, n_labels=3)
    assert [text.get_text() for text in got.texts] == [text.get_text() for text in want.texts]
    np.testing.assert_array_equal(got.collections[0].get_offsets(), want.collections[0].get_offsets())
    np.testing.assert_array_equal(got.collections[0].get_array(), want.collections[0].get_array())
