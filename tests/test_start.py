"""Where fits begin: each case of `start.begin`, and what fits make of it."""

from __future__ import annotations

import numpy as np
import pytest

from fastals import ExplicitALS, ImplicitALS, Interactions, NotFittedError, WeightedALS
from fastals.engine.alternation import Alternation, Begin
from fastals.start import begin
from tests.helpers import CLASSIC, a_model, observed, same_model, stored
from tests.test_updates import SMALL, assert_same_cells, every_case, every_model, example, fitted

# What is put into the panels.

NAMES = np.array([f"item {number:02}" for number in range(14)])


def never():
    raise AssertionError("a start of its own was drawn")


def put(start, cells, k, draw=never):
    """Return what `begin` returns, and the panels."""
    biases = start is not None and start.items.biased
    objective = (kind := ExplicitALS if biases else ImplicitALS)(**CLASSIC[kind])._objective()
    model = a_model(cells.csr.toarray(), k, biases)
    model.X[:], model.Y[:] = 7, 7
    return begin(model, draw, start, objective, cells), model.X, model.Y


def test_without_a_start_one_is_drawn():
    drawn = Begin("guessed")
    found, X, Y = put(None, Interactions(np.ones((4, 3)), "float64"), 2, lambda: drawn)
    assert found is drawn
    assert (X == 7).all()
    assert (Y == 7).all()


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_rows_go_where_their_ids_are(cls):
    model = cls(**SMALL).fit(Interactions(stored(example()), "float64", item_ids=NAMES))
    rng = np.random.default_rng(0)
    order = rng.permutation(17)
    names = np.array([*NAMES, "a", "b", "c"])[order]
    cells = Interactions(stored(observed(rng, 22, 17, 0.4)), "float64", item_ids=names)
    found, X, Y = put(model._state, cells, 3)
    assert found == Begin("absent", 2)
    wanted_X, wanted_Y = np.zeros_like(X), np.zeros_like(Y)
    wanted_X[:20, :3], wanted_Y[np.argsort(order)[:14], :3] = model.user_factors_, model.item_factors_
    if cls is ExplicitALS:
        wanted_X[:20, 3], wanted_Y[np.argsort(order)[:14], 3] = model.user_biases_, model.item_biases_
    np.testing.assert_array_equal(X, wanted_X)
    np.testing.assert_array_equal(Y, wanted_Y)


def test_users_count_as_solved_for_the_same_cells_and_objective():
    cells = Interactions(stored(example()), "float64")
    start = ImplicitALS(**SMALL, **CLASSIC[ImplicitALS]).fit(cells)._state
    assert put(start, cells, 3)[0] == Begin("solved", 2)
    assert put(start, Interactions(stored(example()), "float64"), 3)[0] == Begin("absent", 2)
    other = ImplicitALS(**SMALL | CLASSIC[ImplicitALS] | {"regularization": 0.5}).fit(cells)._state
    assert put(other, cells, 3)[0] == Begin("absent", 2)
    changed = ImplicitALS(**SMALL, **CLASSIC[ImplicitALS]).fit(cells).update(0, 0)._state
    assert put(changed, cells, 3)[0] == Begin("absent", 2)


def test_new_factors_are_what_was_drawn_outside_the_span_of_the_old_ones():
    model = fitted()
    cells = Interactions(stored(example()), "float64")
    drawn = np.random.default_rng(0).standard_normal((14, 5))
    objective = ImplicitALS(**CLASSIC[ImplicitALS])._objective()
    panels = a_model(example(), 5)

    def draw():
        panels.X[:], panels.Y[:, :5] = 7, drawn
        return Begin("guessed")

    assert begin(panels, draw, model._state, objective, cells) == Begin("absent")
    Y = model.item_factors_
    np.testing.assert_array_equal(panels.X[:, :3], model.user_factors_)
    np.testing.assert_array_equal(panels.Y[:, :3], Y)
    assert not panels.X[:, 3:].any()
    assert not panels.Y[:, 5:].any()
    # The two longest axes of what the least squares solution leaves.
    axes, sizes, _ = np.linalg.svd(drawn - Y @ np.linalg.lstsq(Y, drawn, rcond=None)[0], full_matrices=False)
    np.testing.assert_allclose(np.abs(panels.Y[:, 3:5]), np.abs(axes[:, :2] * sizes[:2]), rtol=0, atol=1e-10)


# Fits that go on.


@every_case
def test_refit_goes_on(case):
    R = example()
    model = case.build(R, **SMALL)[0].fit(stored(R))
    before = model.loss(stored(R))
    assert model.refit(stored(R)) is model
    assert model.n_iter_ == 2
    assert model.loss_history_[-1] < before


@every_model
def test_refit_on_a_grown_matrix(cls):
    R, grown = example(), example(1, (26, 17))
    grown[:20, :14] = R
    model = fitted(cls, R, iterations=30)
    seconds = fitted(cls, grown, iterations=1)
    model.iterations = 1
    model.refit(stored(grown))
    assert model.user_factors_.shape == (26, 3)
    assert model.item_factors_.shape == (17, 3)
    assert model.loss_history_[-1] < 2 * seconds.loss_history_[-1]
    assert model.item_factors_[14:].any(axis=1).all()
    assert_same_cells(model, grown)


def test_refit_without_iterations_keeps_the_items():
    model = fitted(solver="cholesky")
    before = model.user_factors_ @ model.item_factors_.T
    model.iterations = 0
    model.refit(stored(example()))
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, before, rtol=0, atol=1e-10)


def test_refit_with_weights():
    R, weights = example(), np.linspace(1, 2, stored(example()).nnz)
    model = WeightedALS(**SMALL).fit(stored(R), weights=weights)
    before = model.loss(stored(R), weights)
    assert model.refit(stored(R), weights=weights).loss_history_[-1] < before


def test_refit_with_fewer_factors_is_refused():
    model = fitted().set_params(factors=2)
    with pytest.raises(ValueError, match="factors is 2 and the model to start from has 3"):
        model.refit(stored(example()))


@every_case
def test_a_pause_costs_less_than_an_iteration(case):
    """For most seeds: a fit that has converged but for over-relaxation may end either side of the other."""
    R = stored(example())
    gains = []
    for seed in range(9):
        settings = SMALL | {"solver": "cholesky", "random_state": seed}
        five, three, more = (case.build(example(), **settings | {"iterations": n})[0] for n in (5, 3, 3))
        before = three.fit(R).item_factors_.copy()
        gains.append(five.fit(R).loss(R) - more.fit(R, start=three).loss(R))
    assert np.median(gains) > 0
    np.testing.assert_array_equal(three.item_factors_, before)


@pytest.mark.parametrize(
    ("change", "first"),
    [({}, "item"), ({"alpha": 2.0}, "user"), ({"dtype": "float32"}, "user"), ({"factors": 4}, "user")],
)
def test_users_are_solved_again_for_what_is_new_only(monkeypatch, change, first):
    start = ImplicitALS(**SMALL)
    cells = start.interactions(stored(example()))
    start.fit(cells)
    sides = []
    original = Alternation._half_step
    monkeypatch.setattr(
        Alternation, "_half_step", lambda *args, **options: sides.append(args[1]) or original(*args, **options)
    )
    model = ImplicitALS(**SMALL | change)
    model.fit(cells if "dtype" not in change else model.interactions(stored(example())), start=start)
    assert sides[0] == first
    sides.clear()
    ImplicitALS(**SMALL).fit(stored(example()), start=start)  # other cells, for all that is known
    assert sides[0] == "user"


@every_model
def test_more_factors_begin_where_the_start_leaves_off(cls):
    R = stored(example())
    few = fitted(cls, iterations=30)
    many = cls(**SMALL | {"factors": 6, "iterations": 10}).fit(R, start=few)
    assert many.loss(R) < few.loss(R)
    assert np.linalg.matrix_rank(many.item_factors_) == 6


def test_a_start_is_matched_by_ids():
    R = stored(example())
    names = np.array([f"item {number:02}" for number in range(14)])
    model = ImplicitALS(**SMALL).fit(Interactions(R, "float64", item_ids=names))
    order = np.random.default_rng(0).permutation(14)
    shuffled = Interactions(R[:, order], "float64", item_ids=names[order])
    again = ImplicitALS(**SMALL | {"iterations": 0}).fit(shuffled, start=model)
    np.testing.assert_array_equal(again.item_factors_, model.item_factors_[order])
    fewer = Interactions(R[:, 1:], "float64", item_ids=names[1:])
    with pytest.raises(ValueError, match=r"R lacks item 'item 00', .* takes as item_ids=, or begin anew with fit\(R\)"):
        ImplicitALS(**SMALL).fit(fewer, start=model)


@pytest.mark.parametrize("start", [np.ones((14, 3)), ImplicitALS])
def test_a_start_is_a_model(start):
    with pytest.raises(TypeError, match="start must be a fitted model, ImplicitALS, ExplicitALS or WeightedALS, got"):
        ImplicitALS(**SMALL).fit(stored(example()), start=start)
    with pytest.raises(NotFittedError):
        ImplicitALS(**SMALL).fit(stored(example()), start=ImplicitALS())


def test_refit_takes_the_same_bits_from_the_same_start():
    first, second = (fitted().refit(stored(example()) * 2) for _ in range(2))
    assert same_model(first, second)
