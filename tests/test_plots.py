"""What the pictures show, read back from matplotlib's objects."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastals import ExplicitALS, ImplicitALS, Interactions, plots
from fastals.tuning import grid_search

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
    assert first.get_ydata().tolist() == model.loss_history_
    assert second.get_ydata().tolist() == [3.0, 2.0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["model 1", "model 2"]
    assert plots.convergence(model).get_legend() is None


@pytest.mark.parametrize(
    ("models", "labels", "message"),
    [
        ([], None, "got 0 models"),
        ([[]], None, "model 1 has no loss to draw"),
        ([[1.0]], ["a", "b"], "got 1 models and 2 labels"),
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


def test_degrees_count_those_with_at_least_as_many(R):
    ax = plots.degrees(R)
    drawn(ax)
    for line, counts in zip(ax.get_lines(), (R.sum(axis=1), R.sum(axis=0)), strict=True):
        for cells, number in zip(line.get_xdata(), line.get_ydata(), strict=True):
            assert np.count_nonzero(counts > cells) < number <= np.count_nonzero(counts >= cells)
    with pytest.raises(ValueError, match="has no interactions to count"):
        plots.degrees(sp.csr_array((2, 2)))


def test_heat_map_of_a_search(R):
    grid = {"factors": [4, 2, -1], "regularization": [0.1, 1.0], "alpha": [1.0, 5.0]}
    turned = R[:, ::-1] - R[:, ::-1].multiply(R)  # what users do not have
    turned.eliminate_zeros()
    found = grid_search(ImplicitALS(iterations=2, random_state=0), grid, (R, turned.tocsr()), "recall@3")
    ax = plots.heat_map(found.table, "factors", "regularization")
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
    with pytest.raises(ValueError, match="table has no column 'factor': choose from factors, regularization, alpha"):
        plots.heat_map(found.table, "factor", "alpha")


def test_axes_of_ones_own_are_used(R, model):
    from matplotlib.figure import Figure

    for draw in (
        lambda ax: plots.convergence(model, ax=ax),
        lambda ax: plots.embedding(model, R, ax=ax),
        lambda ax: plots.degrees(R, ax=ax),
        lambda ax: plots.heat_map({"a": [1, 2], "b": ["x", "y"], "score": [0.5, np.nan]}, "a", "b", ax=ax),
    ):
        ax = Figure().subplots()
        assert draw(ax) is ax
        drawn(ax)


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
