"""Entries in mapped files: the bits of a fit in memory, and no memory for the entries."""

import contextlib
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastals
from fastals import Interactions
from fastals.data.matrix import unlocked
from fastals.engine import features, loss, sweep
from fastals.engine import mapped as module
from fastals.engine.mapped import in_turn, is_mapped, row_blocks
from fastals.engine.plan import plan_for
from fastals.engine.problem import OK, CellRule, Cells, RowProblem, no_shifts
from fastals.engine.rows import blocked_rows
from fastals.engine.rows.workspace import workspace
from fastals.engine.simd.target import padded
from tests.helpers import holes_are_free, in_file, mapped, same_bits, same_model

FLOAT32 = np.dtype(np.float32)
NO_SHIFTS = no_shifts(np.dtype(np.float32))
MODELS = {
    "implicit": (fastals.ImplicitALS, {"alpha": 5.0}),
    "popularity": (fastals.ImplicitALS, {"unobserved_weight": 0.1, "popularity_exponent": 0.5}),
    "biases": (fastals.ImplicitALS, {"unobserved_weight": 0.1, "biases": True}),
    "explicit": (fastals.ExplicitALS, {}),
    "no ridge": (fastals.WeightedALS, {"unobserved_weight": 0.5, "regularization": 0.0}),
    "weighted": (fastals.WeightedALS, {"unobserved_weight": 0.1, "item_weights": fastals.LinearWeights()}),
}


def events(dtype="float32", shape=(90, 50), density=0.2, seed=0):
    """Rows of 0 to 40 entries, some of them dislikes, none 0; the last user has none."""
    rng = np.random.default_rng(seed)
    R = rng.choice([-1.0, 0.5, 1.0, 3.0], shape) * (rng.random(shape) < density * 2 * rng.random((shape[0], 1)))
    R[-1] = 0
    return Interactions(R, dtype)


# Which arrays are mapped, and how their rows are cut.


def test_mapped_arrays_are_told_from_others(tmp_path):
    array = in_file(tmp_path / "array", 100, np.int32)
    assert is_mapped(array) and is_mapped(array[10:20]) and is_mapped(np.asarray(array)[10:20])
    array.flags.writeable = False
    assert is_mapped(unlocked(array)) and is_mapped(unlocked(array)[10:20])
    assert not is_mapped(np.array(array)) and not is_mapped(np.zeros(3)[1:])


@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=60), most=st.integers(1, 50))
def test_blocks_have_every_row_once_and_few_entries(counts, most):
    indptr = np.concatenate([[0], np.cumsum(counts)])
    cells = Cells(indptr, np.zeros(indptr[-1], np.int32), np.ones(1), np.ones(1))
    assert row_blocks(cells) == [(0, len(counts))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ENTRIES", most)
        patch.setattr(module, "is_mapped", lambda array: True)
        blocks = row_blocks(cells)
    assert [begin for begin, _ in blocks] == [0, *(end for _, end in blocks[:-1])]
    assert blocks[-1][1] == len(counts)
    for begin, end in blocks:
        assert end == begin + 1 or indptr[end] - indptr[begin] <= most
        assert 0 < end - begin <= most
        assert end in (len(counts), begin + most) or indptr[end + 1] - indptr[begin] > most


@pytest.mark.parametrize("threads", [True, False], ids=["a thread reads", "no thread can be started"])
def test_blocks_come_in_turn(threads, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", 40)
    if not threads:
        monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError))
    R = mapped(events(), tmp_path)
    blocks = row_blocks(R.by_user)
    assert len(blocks) > 5
    parts = list(in_turn(R.by_user, blocks))
    for which in ("indices", "values"):
        whole = np.concatenate([getattr(part, which) for part in parts])
        assert np.array_equal(whole, getattr(R.by_user, which))
    assert np.array_equal(np.concatenate([part.counts for part in parts]), R.by_user.counts)


# Fits.


@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_a_fit_has_the_bits_of_one_in_memory(name, dtype, solver, tmp_path, monkeypatch):
    cls, params = MODELS[name]
    model = cls(6, iterations=3, solver=solver, dtype=dtype, random_state=0, **params)
    R = events(dtype)
    with np.errstate(all="ignore"), contextlib.suppress(np.linalg.LinAlgError):
        wanted = model.fit(R)
        for most, n_threads in ((1, 1), (60, 3), (10**6, 2)):
            monkeypatch.setattr(module, "ENTRIES", most)
            found = cls(**model.get_params() | {"n_threads": n_threads}).fit(mapped(R, tmp_path))
            assert same_model(found, wanted)
            assert np.array_equal(found._state.item_counts, wanted._state.item_counts)


@pytest.mark.parametrize("solver", ["auto", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("many", [0, 100], ids=["conjugate gradients", "a Gram matrix"])
@pytest.mark.parametrize("dense", [0, 2], ids=["dense", "sparse"])
def test_implicit_features_have_the_same_bits(dense, many, dtype, solver, tmp_path, monkeypatch):
    for name, number in (("DENSE", dense), ("MANY", many), ("ROWS", 16), ("PARTS", 2)):
        monkeypatch.setattr(features, name, number)
    R = events(dtype)
    params = {"iterations": 3, "solver": solver, "dtype": dtype, "random_state": 0, "implicit_features": True}
    for most in (1, 60, 10**6):
        monkeypatch.setattr(module, "ENTRIES", most)
        wanted, file = fastals.ExplicitALS(6, **params).fit(R), mapped(R, tmp_path)
        found = fastals.ExplicitALS(6, **params, n_threads=3).fit(file)
        assert same_model(found, wanted)
        assert same_bits(found.user_feature_factors_, wanted.user_feature_factors_)
        assert found.user_feature_factors_.any()
        assert found.loss(file) == wanted.loss(R) == pytest.approx(wanted.loss_history_[-1], rel=1e-4)
        assert same_bits(found.fold_in_users(file)[:, :6], wanted.user_factors_)
        assert same_model(found.refit(file), wanted.refit(R))


@pytest.mark.parametrize("most", [1, 200, 1000])
def test_long_rows_have_the_same_bits_in_any_block(most, tmp_path, monkeypatch):
    """Rows for batches, and rows for all threads together, also where such a row is alone in its block."""
    monkeypatch.setattr(blocked_rows, "CACHED", 30 * 16)
    monkeypatch.setattr(blocked_rows, "CELLS", 0)
    monkeypatch.setattr(blocked_rows, "BLOCK", 2**10)
    monkeypatch.setattr(blocked_rows, "SKETCHED", 0)
    monkeypatch.setattr(sweep, "LONG", 60)
    batches = []
    kernel = sweep.solve_batches
    monkeypatch.setattr(sweep, "solve_batches", lambda *given: batches.append(len(given[2])) or kernel(*given))
    R = events(shape=(80, 150), density=0.3)
    model = fastals.ImplicitALS(12, iterations=3, solver="cg", random_state=0, n_threads=2)
    wanted = model.fit(R)
    assert max(batches) > 1 and (R.by_user.counts > 60).any()
    monkeypatch.setattr(module, "ENTRIES", most)
    assert same_model(fastals.ImplicitALS(**model.get_params()).fit(mapped(R, tmp_path)), wanted)


def test_what_a_model_answers_does_not_depend_on_where_the_entries_are(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", 50)
    R = events()
    file = mapped(R, tmp_path)
    model = fastals.ExplicitALS(4, iterations=2, random_state=0).fit(R)
    other = fastals.ExplicitALS(4, iterations=2, random_state=0).fit(file)
    assert same_bits(other.fold_in_users(file), model.fold_in_users(R))
    assert same_bits(other.fold_in_items(file), model.fold_in_items(R))
    assert other.loss(file) == model.loss(R)
    for ours, theirs in zip(model.recommend(np.arange(90), n=5), other.recommend(np.arange(90), n=5), strict=True):
        assert same_bits(ours, theirs)
    going_on = [fastals.ExplicitALS(4, iterations=1).fit(data, start=of) for data, of in ((R, model), (file, other))]
    assert same_model(*going_on)


def test_a_fit_of_files_can_be_interrupted_and_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    """To the bits of a fit in memory, whose checkpoint serves as well."""
    monkeypatch.setattr(module, "ENTRIES", 50)
    R = events()
    model = fastals.ImplicitALS(4, iterations=4, random_state=0)
    wanted = fastals.ImplicitALS(**model.get_params()).fit(R)

    def stop(iteration, _):
        if iteration == 1:
            raise KeyboardInterrupt

    for first, then in ((mapped(R, tmp_path), R), (R, mapped(R, tmp_path))):
        path = tmp_path / f"{id(first)}.npz"
        with pytest.raises(KeyboardInterrupt):
            fastals.ImplicitALS(**model.get_params()).fit(first, callback=stop, checkpoint=path)
        assert same_model(fastals.ImplicitALS(**model.get_params()).fit(then, checkpoint=path, progress=True), wanted)


def test_ctrl_c_between_blocks_ends_a_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", 50)
    solved = []

    def interrupt(*given):
        solved.append(given)
        if len(solved) == 40:
            raise KeyboardInterrupt

    solve = sweep._solve_section
    monkeypatch.setattr(sweep, "_solve_section", lambda *given: interrupt(*given) or solve(*given))
    with pytest.raises(KeyboardInterrupt):
        fastals.ImplicitALS(4, random_state=0).fit(mapped(events(), tmp_path))
    assert len(solved) == 40


@pytest.mark.parametrize("implied", [None, "sparse", "dense"])
@pytest.mark.parametrize("cls", [fastals.ImplicitALS, fastals.ExplicitALS])
def test_a_fit_needs_no_memory_for_the_entries(cls, implied, tmp_path, monkeypatch):
    """Nothing as long as the entries is made, not for a moment: neither of the whole nor of more than two blocks."""
    rng, shape, each = np.random.default_rng(0), (4000, 1000), 250
    indptr = np.arange(0, each * shape[0] + 1, each)
    indices = np.sort(rng.random((shape[0], shape[1])).argpartition(each, axis=1)[:, :each], axis=1).ravel()
    values = rng.choice([-1.0, 1.0, 2.0], len(indices)).astype(np.float32)
    cells = Cells(indptr, indices.astype(np.int32), values, np.ones(1, np.float32))
    R = mapped(Interactions._make(shape, FLOAT32, None, None, cells=cells), tmp_path)
    monkeypatch.setattr(module, "ENTRIES", 20_000)
    model, more = cls(4, iterations=1, random_state=0, n_threads=1), 0
    if implied:
        if cls is fastals.ImplicitALS:
            pytest.skip("has no implicit features")
        model.set_params(implicit_features=True)
        more = shape[0] * padded(5, FLOAT32) * 4 * 4  # prior means, and panels that they are put together from
        for name, number in (("DENSE", 2 if implied == "sparse" else 0), ("MANY", 0), ("ROWS", 64), ("PARTS", 2)):
            monkeypatch.setattr(features, name, number)
    model.fit(events())  # what is kept of the first fit
    tracemalloc.start()
    model.fit(R)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    panels = sum(shape) * padded(5, FLOAT32) * 4
    assert R.nnz == 1_000_000
    assert peak < 2 * panels + more + 1_000_000


# Sizes.


@pytest.fixture
def panels():
    """A row problem with binary data, and its fixed side."""
    rule = CellRule(*(np.float32(number) for number in (1, 2, 1, 0, 0)))
    rows = np.array([[1, 0.5, 0.3]] * 2, np.float32)
    Y = np.zeros((40, padded(4, FLOAT32)), np.float32)
    Y[:, :4] = np.random.default_rng(0).standard_normal((40, 4))
    return rule, rows, Y, np.array([3, 2, 1, 0.5] + [0] * (Y.shape[1] - 4), np.float32)


def test_numbers_beyond_32_bits_find_their_rows_and_columns(tmp_path, panels):
    """The last of 2^31 - 1 rows, with entries behind the first 2^31 of them, in the last of 2^31 - 1 columns.

    The arrays are holes in files, in which only what this row needs is ever touched.
    """
    if not holes_are_free(tmp_path / "hole"):
        pytest.skip("files with holes take room here")
    rule, rows, small, g = panels
    n, first, m, kp = 2**31 - 1, 2**31 + 5, 20, small.shape[1]
    plan = plan_for("auto", FLOAT32, True, warm=False, last=True)
    wanted = np.zeros((1, kp), np.float32)
    own = Cells(np.array([0, m]), np.arange(20, 40, dtype=np.int32), np.ones(1, np.float32), np.ones(1, np.float32))
    columns = np.ones((1, 3), np.float32)
    outcome = sweep.half_step(RowProblem(own, rule, rows[:1], columns, NO_SHIFTS), small, g, 4, wanted, plan, 1)

    names = ("indptr", "indices", "rows", "Y", "x", "losses", "status")
    shapes = (n + 1, first + m, (n, 3), (n, kp), n * kp, n, n)
    dtypes = (np.int64, np.int32, np.float32, np.float32, np.float32, np.float64, np.int8)
    arrays = [np.asarray(in_file(tmp_path / name, *of)) for name, *of in zip(names, shapes, dtypes, strict=True)]
    indptr, indices, many, Y, x, losses, status = arrays
    u = n - 1
    indptr[u : u + 2], indices[first:], many[u] = (first, first + m), np.arange(n - m, n), rows[0]
    Y[n - m :], status[u] = small[20:], 9
    problem = RowProblem(own._replace(indptr=indptr, indices=indices), rule, many, columns, NO_SHIFTS)
    order, blocks = np.array([u], np.int32), np.array([0, 1])
    results = x, plan, losses, status, workspace(kp, m, FLOAT32)
    sweep._solve_blocks(np.zeros(1, np.int64), order, blocks, problem, Y, g, g[:4].min(), 4, *results)
    assert status[u] == OK
    assert same_bits(np.array(x[-kp:]), wanted[0])
    assert losses[u] == outcome.losses[0]

    X, found, alone = x.reshape(-1, kp), np.zeros(1), np.zeros(1)
    loss._observed(np.zeros(1, np.int64), np.array([u]), 1, problem, X, Y, found, workspace(kp, m, FLOAT32))
    small_problem = RowProblem(own, rule, rows[:1], columns, NO_SHIFTS)
    first_row = np.zeros(1, np.int64)
    loss._observed(first_row.copy(), first_row, 1, small_problem, wanted, small, alone, workspace(kp, m, FLOAT32))
    assert found[0] == alone[0] != 0


def test_more_than_2_to_31_entries_are_cut_into_blocks(tmp_path):
    if not holes_are_free(tmp_path / "hole"):
        pytest.skip("files with holes take room here")
    indptr = np.array([0, 2**31 + 10, 2**31 + 10, 2**31 + 30])
    cells = Cells(indptr, in_file(tmp_path / "indices", 2**31 + 30, np.int32), np.ones(1), np.ones(1))
    assert row_blocks(cells) == [(0, 1), (1, 3)]
    assert cells.part(1, 3).indptr.tolist() == [0, 0, 20]


def test_a_row_of_ten_million_entries(panels):
    """It may name a column more than once: then the column counts so many times."""
    rule, rows, Y, g = panels
    m = 10_000_000
    indices = np.repeat(np.arange(40, dtype=np.int32), m // 40)
    one = np.ones(1, np.float32)
    cells = Cells(np.array([0, m, m + 3]), np.append(indices, np.arange(3, dtype=np.int32)), one, one)
    X = np.zeros((2, Y.shape[1]), np.float32)
    problem = RowProblem(cells, rule, rows, np.ones((1, 3), np.float32), NO_SHIFTS)
    outcome = sweep.half_step(problem, Y, g, 4, X, plan_for("auto", FLOAT32, True, warm=False, last=True), 2)
    assert outcome.status.tolist() == [OK, OK]
    y = Y[:, :4].astype(np.float64)
    A = np.diag(0.5 * g[:4] + 0.3) + 2.5 * m / 40 * y.T @ y  # w = confidence 3, less the background 0.5
    solution = np.linalg.solve(A, 3.0 * m / 40 * y.sum(axis=0))
    # 10 million products, summed in 32 parts and, in each, by vectors.
    np.testing.assert_allclose(X[0, :4], solution, rtol=0, atol=1e-3 * np.abs(solution).max())
