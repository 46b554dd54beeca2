"""The basis in which rows have diagonal equations, and the coupling of rows whose ridges differ."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals import ImplicitALS
from fastals.engine import alternation
from fastals.engine.alternation import Alternation, Begin, loss
from fastals.engine.problem import BACKGROUND, NOT_POSITIVE, RIDGE, WEIGHT, Outcome
from fastals.engine.whitening import coupling, whitening
from tests.helpers import a_model, example, same_model

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def gram_of(width, seed, decay=1.0):
    Y = np.random.default_rng(seed).standard_normal((3 * width, width)) * decay ** np.arange(width)
    return Y.T @ Y


@given(width=st.integers(1, 80), seed=st.integers(0, 99), decay=st.floats(0.8, 1.2), share=st.floats(1e-6, 10))
def test_background_and_ridge_become_diagonal(width, seed, decay, share):
    G = gram_of(width, seed, decay)
    least = share * G.trace()
    found = whitening(G, least, least, F64)
    assert found is not None
    M, allowed = G + least * np.eye(width), 20 * width * np.finfo(np.float64).eps
    for triangle in (found.root, found.inverse):
        assert np.array_equal(triangle, np.tril(triangle))
    assert np.abs(found.root * (found.g + least) @ found.root.T - M).max() <= allowed * M.trace()
    # The diagonal counts for the condition that is left when it has been scaled away.
    scale = np.sqrt(M.diagonal())
    condition = np.linalg.cond(M / np.outer(scale, scale))
    assert np.abs(found.inverse @ found.root - np.eye(width)).max() <= allowed * condition
    # x'x = x~'(1 + C) x~, and C has no diagonal.
    assert np.abs((found.inverse**2).sum(axis=1) - 1).max() <= allowed


@given(
    width=st.integers(2, 40),
    seed=st.integers(0, 99),
    decay=st.floats(0.9, 1.1),
    excess=st.floats(1e-3, 1e3),
    share=st.floats(0.01, 1),
    enough=st.sampled_from([0.0, np.inf]),
)
def test_the_coupling_of_no_row_is_above_its_bound(width, seed, decay, excess, share, enough):
    G = gram_of(width, seed, decay)
    least = 0.01 * G.trace() / width
    found = whitening(G, least, least, F64)
    bound = coupling(found.inverse, 1 / (found.g + least), excess * least, enough, 2)
    C = found.inverse @ found.inverse.T
    np.fill_diagonal(C, 0)
    # A row with the background 1 and a ridge between the least and the largest one.
    above = share * excess * least
    metric = 1 / np.sqrt(found.g + least + above)
    e = np.linalg.norm(above * C * np.outer(metric, metric), 2)
    assert e <= bound * (1 + 1e-12)


def test_rows_whose_coupling_counts_have_none():
    G = gram_of(20, 0)
    least = 0.1 * G.trace() / 20
    found = whitening(G, least, least, F64)
    bound = coupling(found.inverse, 1 / (found.g + least), least, 0.0, 1)
    assert 0 < bound < 1
    beyond = (1 - bound) / (1 + bound)  # falls as the bound rises, and is its own inverse
    assert whitening(G, least, 2 * least, F64, 0.99 * beyond) is not None
    assert whitening(G, least, 2 * least, F64, 1.01 * beyond) is None
    # e / (s - (1 - s) e) is 1 at this share s.
    kept = 2 * bound / (1 + bound)
    assert whitening(G, least, 2 * least, F64, 0.0, 1.01 * kept) is not None
    assert whitening(G, least, 2 * least, F64, 0.0, 0.99 * kept) is None


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.1])
def test_the_objective_falls_and_of_a_step_little_is_left(kept):
    """Whatever the entries are, if each has at least a share of the confidence that it would have unobserved."""
    rng, taken = np.random.default_rng(0), 0
    for _ in range(600):
        width = rng.integers(2, 8)
        beyond, excess = rng.uniform(0, 0.7), 10 ** rng.uniform(-2, 3)
        Y = rng.standard_normal((2 * width, width)) * 10 ** rng.uniform(-1, 1, width)
        Y @= np.eye(width) + 0.3 * rng.standard_normal((width, width))
        G = Y.T @ Y
        least = 10 ** rng.uniform(-3, 0) * G.trace() / width
        found = whitening(G, least, (1 + excess) * least, F64, beyond, kept)
        if found is None:
            continue
        taken += 1
        # A row with the background 1 and the largest ridge.
        y, C = Y @ found.inverse.T, found.inverse @ found.inverse.T - np.eye(width)
        d, coupled = found.g + (1 + excess) * least, excess * least * C
        w = np.where(rng.random(len(y)) < 0.8, rng.choice([kept, 3 * kept], len(y)) - 1, 0)
        left = np.linalg.solve(np.diag(d) + (y.T * w) @ y, coupled)  # of the step
        ends = beyond * np.eye(width) + (1 + beyond) * left
        assert np.abs(np.linalg.eigvals(ends)).max() <= 1 + 1e-9
        if kept == 1:
            metric = np.sqrt(d)
            e = np.linalg.norm(coupled / np.outer(metric, metric), 2)
            assert np.linalg.norm(left * np.outer(metric, 1 / metric), 2) <= e * (1 + 1e-9)
    assert taken > 20


@pytest.mark.parametrize(
    "gram",
    [np.full((3, 3), 0.0) - 0.1 * np.eye(3), np.diag([1.0, -1, 1]), np.full((3, 3), np.nan), np.diag([np.inf, 1, 1])],
    ids=["nothing", "indefinite", "nan", "infinite"],
)
def test_what_has_no_such_basis(gram):
    assert whitening(gram, 0.1, 0.1, F64) is None


def test_where_rounding_counts_there_is_none_in_that_dtype():
    near = np.ones((2, 2))
    assert whitening(near, 1e-6, 1e-6, F32) is None
    assert whitening(near, 1e-6, 1e-6, F64) is not None
    assert whitening(np.diag([1e5, 1e-5]), 0.1, 0.1, F32) is not None  # scales alone do no harm


def test_a_ridge_that_is_lost_in_rounding_has_none():
    assert whitening(np.diag([1e8, 1.0]), 1.0, 1.0, F32) is None
    assert whitening(np.diag([1e8, 1.0]), 1.0, 1.0, F64) is not None


@pytest.fixture
def few(monkeypatch):
    """Let any number of factors take this way, with any number of rows."""
    monkeypatch.setattr(alternation, "WHITENED", 1)
    monkeypatch.setattr(alternation, "FEW", np.inf)


def started(**params):
    model = a_model(example(), 3, **params)
    rng = np.random.default_rng(0)
    for panel in (model.X, model.Y):
        panel[:, :3] = rng.standard_normal((len(panel), 3))
    loop = Alternation(model, "cholesky", 2)
    return model, loop


def equations(model, u):
    """Return A, b and the constant of a user's objective x'Ax - 2 b'x + constant, in float64."""
    problem, Y = model.users, model.Y[:, :3].astype(np.float64)
    constant, slope, sign, value, mean = map(float, problem.rule)
    weights = np.broadcast_to(problem.columns[:, BACKGROUND], len(Y))
    part = problem.cells.part(u, u + 1)
    y, v = Y[part.indices], part.all_values.astype(np.float64)
    c, target = (constant + slope * np.abs(v)) * part.all_weights, sign * (v > 0) + value * (v - mean)
    background = problem.rows[u, BACKGROUND]
    w = c - background * weights[part.indices]
    A = background * (Y.T * weights) @ Y + problem.rows[u, RIDGE] * np.eye(3) + (y.T * w) @ y
    return A, y.T @ (c * target), float((c * target**2).sum())


def dense(model):
    """The users' exact solutions."""
    X = np.zeros((len(model.X), 3))
    for u in range(len(X)):
        A, b, _ = equations(model, u)
        X[u] = np.linalg.solve(A, b)
    return X


def solved_whitened(loop, plan):
    ridges = loop._whitenable("user", plan)
    return None if ridges is None else loop._solve_whitened("user", plan, ridges, True)


def test_rows_get_their_solutions_and_the_fixed_side_stays(few):
    model, loop = started()
    before, wanted = model.Y.copy(), dense(model)
    outcome = solved_whitened(loop, loop._inner_plan("user", 0))
    assert outcome is not None
    eps = np.finfo(model.Y.dtype).eps
    assert np.array_equal(model.Y, before)
    assert np.abs(model.X[:, :3] - wanted).max() <= 500 * eps * np.abs(wanted).max()


def test_rows_that_differ_take_their_coupling_at_the_start(few):
    model, loop = started(dtype="float64")
    rows = model.users.rows
    rows[:, RIDGE] *= np.linspace(3, 1, len(rows))
    before, old = model.X[:, :3].copy(), model.Y.copy()
    ratios = rows[:, RIDGE] / rows[:, BACKGROUND]
    least, most = ratios.min(), ratios.max()
    weights = np.broadcast_to(model.users.columns[:, BACKGROUND], len(model.Y))
    G = (model.Y[:, :3].T * weights) @ model.Y[:, :3]
    found = whitening(G, least, most, F64)
    C = found.inverse @ found.inverse.T - np.eye(3)
    plan = loop._plan("user", warm=True, beyond=0.25)
    outcome = solved_whitened(loop, plan)
    assert outcome is not None
    assert np.array_equal(model.Y, old)
    counts = model.users.cells.counts
    assert counts.min() == 0
    for u in range(len(rows)):
        if counts[u] == 0:
            assert not model.X[u].any()
            assert outcome.losses[u] == 0
            continue
        A, b, constant = equations(model, u)
        coupled = (rows[u, RIDGE] - least * rows[u, BACKGROUND]) * found.root @ C @ found.root.T
        x = np.linalg.solve(A - coupled, b - coupled @ before[u])
        x += 0.25 * (x - before[u])
        np.testing.assert_allclose(model.X[u, :3], x, rtol=1e-9, atol=1e-11)
        assert outcome.losses[u] == pytest.approx(x @ A @ x - 2 * b @ x + constant, rel=1e-9)


def test_rows_without_entries_do_not_count(few):
    """As where only observed entries count in the ridge, or in the popularity: then c or r is 0 without any."""
    model, loop = started()
    rows, empty = model.users.rows, model.users.cells.counts == 0
    assert empty.any()
    rows[:, RIDGE] *= np.linspace(3, 1, len(rows))
    plan = loop._plan("user", warm=True, beyond=0.25)
    start, results = model.X.copy(), []
    for background, ridge in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1e-3, 1e3)):
        rows[empty, BACKGROUND], rows[empty, RIDGE] = background, ridge
        model.X[...] = start
        outcome = solved_whitened(loop, plan)
        assert outcome is not None
        results.append((model.X.copy(), outcome.losses))
    assert not results[0][0][empty].any()
    for X, losses in results[1:]:
        assert np.array_equal(X, results[0][0])
        assert np.array_equal(losses, results[0][1])
    model.users.cells.indptr[:] = 0
    assert solved_whitened(loop, plan) is None


def test_low_confidences_lower_what_coupling_may_be(few):
    """Confidences far below those of unobserved entries leave little of a row's matrix."""
    model, loop = started()
    model.users.rows[:, RIDGE] *= np.linspace(3, 1, len(model.users.rows))
    plan = loop._plan("user", warm=True, beyond=0.25)
    shares, found = [], alternation._kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alternation, "_kept", lambda *of: shares.append(found(*of)) or shares[-1])
        assert solved_whitened(loop, plan) is not None
        model.users.rows[3, WEIGHT] = 1e-7
        assert solved_whitened(loop, plan) is None
        model.users.rows[3, WEIGHT] = 1
        model.users.columns[:, BACKGROUND] *= 4
        solved_whitened(loop, plan)
    assert shares == [1, 1e-7, 0.25]


def test_rows_that_differ_too_much_or_are_too_many_have_none(few, monkeypatch):
    model, loop = started()
    before = model.Y.copy()
    model.users.rows[1, RIDGE] *= 2
    plan = loop._inner_plan("user", 4)
    assert solved_whitened(loop, loop._inner_plan("user", 0)) is None  # has no start
    assert solved_whitened(loop, plan) is not None
    monkeypatch.setattr(alternation, "FEW", 0)
    assert solved_whitened(loop, plan) is None
    monkeypatch.setattr(alternation, "FEW", np.inf)
    model.Y[:, 1] = model.Y[:, 0] + 0.1 * model.Y[:, 1]
    before = model.Y.copy()
    model.users.rows[1, RIDGE] *= 1e9
    assert solved_whitened(loop, plan) is None
    assert np.array_equal(model.Y, before)


@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg"])
def test_the_loss_of_each_iteration_is_that_of_its_factors_and_never_rises(few, solver):
    rng = np.random.default_rng(3)
    R = (rng.random((150, 90)) < rng.random((150, 1)) * 0.3) * rng.integers(1, 5, (150, 90)).astype(float)
    model = a_model(R, 12, regularization_exponent=1.0, popularity_exponent=0.5, dtype="float64")
    rng = np.random.default_rng(0)
    model.Y[:, :12] = rng.standard_normal((90, 12))
    loop, taken, told = Alternation(model, solver, 2), [], []
    solve = loop._solve_whitened
    loop._solve_whitened = lambda *of: taken.append(solve(*of)) or taken[-1]

    def after(iteration, reported):
        told.append(reported)
        assert reported == pytest.approx(loss(model, 2), rel=1e-12)
        return False

    assert loop.fit(Begin("absent"), 12, after) is None
    assert sum(outcome is not None for outcome in taken) == len(taken) > 10
    assert all(later <= before * (1 + 1e-12) for before, later in itertools.pairwise(told))


@pytest.mark.parametrize("last", [1, 3])
def test_a_row_that_fails_is_solved_in_the_eigenbasis_from_the_same_start(last, few, monkeypatch):
    model, loop = started()
    model.users.rows[:, RIDGE] *= np.linspace(1, last, len(model.users.rows))
    solved = loop.solve_rows

    def failing(side, Y, g, plan, *, mend=True, **others):
        outcome = solved(side, Y, g, plan, mend=mend, **others)
        status = outcome.status.copy()
        status[2] = 0 if mend else NOT_POSITIVE
        return Outcome(outcome.losses, status)

    monkeypatch.setattr(loop, "solve_rows", failing)
    before = model.X.copy()
    assert solved_whitened(loop, loop._inner_plan("user", 4)) is None
    assert np.array_equal(model.X, before)
    wanted = dense(model) @ model.Y[:, :3].T
    failure, _ = loop._half_step("user", loop._inner_plan("user", 0), early=False)
    assert failure is None
    found = model.X[:, :3] @ model.Y[:, :3].T
    assert np.abs(found - wanted).max() <= 1e3 * np.finfo(model.Y.dtype).eps * np.abs(wanted).max()


COUPLED = {"alpha": 2.0, "unobserved_weight": 0.3, "regularization": 0.1, "regularization_exponent": 0.4}
COUPLED |= {"regularization_counts": "observed", "popularity_exponent": 0.5}


@pytest.fixture
def taken(few, monkeypatch):
    """Record, for each half-step that might take this way with coupled rows, whether it did."""
    recorded, solve = [], Alternation._solve_whitened

    def whitened(self, side, plan, ridges, reported):
        with pytest.MonkeyPatch.context() as patch:
            calls, coupled = [], Alternation._coupled
            patch.setattr(Alternation, "_coupled", lambda *of: calls.append(of) or coupled(*of))
            outcome = solve(self, side, plan, ridges, reported)
        recorded.append(bool(calls) and outcome is not None)
        return outcome

    monkeypatch.setattr(Alternation, "_solve_whitened", whitened)
    return recorded


def ratings():
    """Some users and items have no entries."""
    rng = np.random.default_rng(3)
    R = (rng.random((150, 90)) < rng.random((150, 1)) * 0.3) * rng.integers(1, 5, (150, 90)).astype(float)
    R[:, 7] = R[5] = 0
    return R


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_of_coupled_rows_ends_where_one_without_ends(taken, monkeypatch, dtype, biases):
    params = COUPLED | {"factors": 12, "iterations": 30, "random_state": 0, "dtype": dtype, "biases": biases}
    model = ImplicitALS(**params).fit(ratings())
    assert sum(taken) == len(taken) > 50
    losses, rounding = np.array(model.loss_history_), 1e-6 if dtype == "float32" else 1e-12
    assert (np.diff(losses) <= rounding * losses[1:]).all()
    assert losses[-1] == pytest.approx(model.loss(ratings()), rel=rounding)
    monkeypatch.setattr(alternation, "WHITENED", np.inf)
    wanted = ImplicitALS(**params).fit(ratings())
    assert losses[-1] == pytest.approx(wanted.loss_history_[-1], rel=1e-3)


def test_any_number_of_threads_gives_the_same_bits(taken, monkeypatch):
    monkeypatch.setattr("fastals.engine.blas.SHARE", 1)
    monkeypatch.setattr("fastals.engine.blas.ROWS", 8)
    monkeypatch.setattr("fastals.engine.triangular.ROWS", 8)
    monkeypatch.setattr("fastals.engine.threads.SHARE", 1)
    params = COUPLED | {"factors": 20, "iterations": 6, "random_state": 0}
    one, four = (ImplicitALS(**params, n_threads=n).fit(ratings()) for n in (1, 4))
    assert sum(taken) == len(taken) > 10
    assert same_model(one, four)


@pytest.mark.parametrize("biases", [False, True])
def test_an_interrupted_fit_goes_on_to_the_same_bits(taken, tmp_path, biases):
    def stop(iteration, model):
        if iteration == last:
            raise KeyError

    params = COUPLED | {"factors": 12, "iterations": 6, "random_state": 0, "biases": biases}
    whole = ImplicitALS(**params).fit(ratings())
    for last in range(1, 5):
        path = tmp_path / f"{last}.npz"
        with pytest.raises(KeyError):
            ImplicitALS(**params).fit(ratings(), checkpoint=path, callback=stop)
        assert same_model(ImplicitALS(**params).fit(ratings(), checkpoint=path), whole)
    assert sum(taken) == len(taken) > 10
