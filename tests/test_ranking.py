"""Similar users and items, explanations, vectors for an index, ids from end to end, and many threads at once."""

import multiprocessing
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions
from tests.helpers import CASES, Case, dtypes, observed, rounding, same_bits, stored
from tests.test_topk import full_sort

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def example(n_users: int = 30, n_items: int = 20, seed: int = 0) -> np.ndarray:
    return observed(np.random.default_rng(seed), n_users, n_items, 0.3)


def fitted(cls: type = ImplicitALS, R: np.ndarray | None = None, **params):
    settings = {"factors": 4, "iterations": 2, "random_state": 0} | params
    return cls(**settings).fit(stored(example() if R is None else R))


# Similar.


def obvious_cosines(factors: np.ndarray) -> np.ndarray:
    factors = factors.astype(np.float64)
    lengths = np.linalg.norm(factors, axis=1)
    lengths[lengths == 0] = 1
    return factors @ factors.T / np.outer(lengths, lengths)


def put_factors(model, side, factors):
    """Put in place factors of any number of rows."""
    state = model._state
    model._put(state.with_side(side, state.side(side).with_factors(factors, None)))


@pytest.mark.parametrize("side", ["user", "item"])
@given(dtype=dtypes, n=st.integers(1, 9), include_self=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_similar_is_the_cosine(side, dtype, n, include_self, seed):
    model = fitted(dtype=dtype)
    # Rows of four signs have the length 2, and every cosine is exact.
    rng = np.random.default_rng(seed)
    factors = rng.choice([-3.0, 3.0], (12, 4)).astype(dtype)
    factors[rng.integers(12, size=2)] = 0
    put_factors(model, side, factors)
    similar = getattr(model, f"similar_{side}s")
    cosines = obvious_cosines(factors).astype(dtype)
    asked = rng.integers(0, 12, 5)
    left_out = np.zeros((5, 12), bool)
    left_out[range(5), asked] = not include_self
    ids, scores = similar(asked, n, include_self=include_self)
    wanted_ids, wanted = full_sort(cosines[asked], left_out, n)
    assert np.array_equal(ids, wanted_ids)
    assert np.array_equal(scores, wanted)
    one_ids, one_scores = similar(int(asked[0]), n, include_self=include_self)
    assert same_bits(one_ids, ids[0])
    assert same_bits(one_scores, scores[0])
    left_out[:, 3] = True
    left_out[:, :2] = True
    ids, scores = similar(asked, n, include_self=include_self, exclude=[3], allow=[range(2, 12)] * 5)
    assert np.array_equal(ids, full_sort(cosines[asked], left_out, n)[0])


def test_lengths_beyond_the_dtype():
    model = fitted()
    put_factors(model, "item", np.array([[1e30, 0], [1e30, 1e30], [1e-30, 0]], np.float32))
    ids, cosines = model.similar_items(0, 2)
    assert ids.tolist() == [2, 1]
    assert cosines.tolist() == pytest.approx([1, 0.5**0.5], rel=4 * float(np.finfo(np.float32).eps))


def test_wrong_questions_of_similarity():
    model = fitted()
    for method, arguments, error, sentence in (
        ("similar_items", {"items": 20}, ValueError, r"items is 20: ids run from 0 to 19"),
        ("similar_users", {"users": [-1]}, ValueError, r"users\[0\] is -1: ids run from 0 to 29"),
        ("similar_items", {"items": 0, "n": 0}, ValueError, "n must be at least 1"),
        ("similar_items", {"items": 0, "include_self": 1}, TypeError, "include_self must be True or False"),
    ):
        with pytest.raises(error, match=sentence):
            getattr(model, method)(**arguments)
    assert model.similar_items([])[0].shape == (0, 10)


# Explain.


@every_case
def test_contributions_sum_to_the_folded_in_score(case: Case):
    R = example(seed=3)
    model, reference, extra = case.build(R, factors=4, iterations=3, dtype="float64", random_state=0)
    model.fit(stored(R), **extra)
    Y = model.item_factors_
    if hasattr(model, "item_biases_"):
        Y = np.column_stack([Y, model.item_biases_])
    users = reference.solve_users(R, Y)
    columns, known = reference.regressors(Y)
    scores = reference.mean(R) + known + users @ columns.T
    for user, item in ((0, 0), (5, 7), (29, 19)):
        explained = model.explain(user, item)
        assert explained.score == explained.baseline + explained.contributions.sum()
        terms = np.abs(explained.contributions).sum() + abs(explained.baseline) + 1
        assert explained.score == pytest.approx(scores[user, item], abs=rounding(np.float64, 50, terms, 1e3))
        observed_items = np.flatnonzero(reference.observed(R)[user])
        assert sorted(explained.items) == observed_items.tolist()
        assert (np.diff(explained.contributions) <= 0).all()
        if not extra:
            again = model.explain(None, item, R_new=stored(R)[[user]])
            assert np.array_equal(again.contributions, explained.contributions)


def test_wrong_questions_of_why():
    model = fitted()
    for arguments, sentence in (
        ((0, 20), r"item is 20: ids run from 0 to 19"),
        ((30, 0), r"user is 30: ids run from 0 to 29"),
        ((0, [1]), r"item must be one id, got an array of shape \(1,\)"),
        ((0, 0, np.ones((2, 20))), r"R_new must be the interactions of one user, .* got shape \(2, 20\)"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model.explain(*arguments)


def test_the_smallest_of_many_solutions_has_reasons():
    R = np.full((2, 3), np.nan)
    R[:, :2] = 1.0
    model = fitted(ExplicitALS, R, factors=3, biases=False)
    state = model._state
    model._put(replace(state, objective=replace(state.objective, regularization=(0.0, 0.0))))
    explained = model.explain(0, 1)
    assert explained.score == pytest.approx(model.fold_in_users(stored(R[:1]))[0] @ model.item_factors_[1], rel=1e-4)
    assert explained.contributions.sum() == pytest.approx(explained.score)


def test_a_user_without_cells_has_no_reasons():
    R = example()
    R[4] = np.nan
    model = fitted(ExplicitALS, R)
    explained = model.explain(4, 0)
    assert len(explained.items) == len(explained.contributions) == 0
    assert explained.score == explained.baseline == pytest.approx(model.global_mean_ + model.item_biases_[0])


def test_a_loaded_model_explains_as_before(tmp_path):
    model = fitted(ExplicitALS)
    wanted = model.explain(3, 5)
    model.save(tmp_path / "all")
    got = fastals.load(tmp_path / "all").explain(3, 5)
    assert got.score == wanted.score
    assert np.array_equal(got.contributions, wanted.contributions)
    model.save(tmp_path / "bare", include_cells=False)
    bare = fastals.load(tmp_path / "bare")
    with pytest.raises(ValueError, match=r"saved without its training interactions.*or pass the user's interactions"):
        bare.explain(3, 5)
    assert bare.explain(None, 5, R_new=stored(example())[[3]]).score == wanted.score


# Vectors for an index.


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_index_vectors_rank_as_the_model_does(cls):
    model = fitted(cls, example(60, 50))
    items, users = model.to_index_vectors()
    ids, scores = model.recommend(n=10, exclude_seen=False)
    length = np.linalg.norm(items.astype(np.float64), axis=1)
    assert np.ptp(length) <= rounding(np.float32, items.shape[1], length.max())
    products = users.astype(np.float64) @ items.T
    distances = np.linalg.norm(users[:, None].astype(np.float64) - items, axis=2)
    for order in (np.argsort(-products, 1), np.argsort(-products / length, 1), np.argsort(distances, 1)):
        assert recall(order[:, :10], ids) > 0.99  # neighbours may differ by a rounding
    best = np.take_along_axis(products, ids.astype(int), 1)
    if cls is ExplicitALS:
        best += model.user_biases_[:, None] + model.global_mean_
    largest = np.linalg.norm(users, axis=1).max() * length.max() + np.abs(scores).max()
    assert np.abs(best - scores).max() <= rounding(np.float32, items.shape[1], largest)


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    return np.mean([len(set(ours) & set(theirs)) / len(ours) for ours, theirs in zip(wanted, found, strict=True)])


def test_faiss_finds_what_the_model_recommends():
    faiss = pytest.importorskip("faiss")
    model = fitted(ImplicitALS, example(60, 50))
    items, users = model.to_index_vectors()
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    _, found = index.search(users, 10)
    assert recall(found, model.recommend(n=10, exclude_seen=False)[0]) > 0.99


def test_hnswlib_finds_what_the_model_recommends():
    hnswlib = pytest.importorskip("hnswlib")
    model = fitted(ImplicitALS, example(60, 50))
    items, users = model.to_index_vectors()
    index = hnswlib.Index("cosine", items.shape[1])
    index.init_index(len(items), random_seed=0)
    index.add_items(items, num_threads=1)
    index.set_ef(50)
    found, _ = index.knn_query(users, 10)
    assert recall(found, model.recommend(n=10, exclude_seen=False)[0]) > 0.99


# Ids.

IDS = {
    "strings": ([f"u{i:02}" for i in range(30)], [f"item {i:03}" for i in range(20)]),
    "integers": (range(10**12, 10**12 + 30), range(-7, 13)),
    "unsigned": (np.arange(30, dtype=np.uint64) + np.uint64(2**63), np.arange(20, dtype=np.uint64)),
}


@pytest.mark.parametrize("users_items", IDS.values(), ids=IDS)
@pytest.mark.parametrize("loaded", [False, True])
def test_a_model_takes_and_gives_the_ids_it_was_fitted_on(users_items, loaded, tmp_path):
    users, items = (np.asarray(ids) for ids in users_items)
    R = np.nan_to_num(np.abs(example()))
    R[3] = 0
    rows, columns = np.nonzero(R)
    plain = ImplicitALS(factors=4, iterations=2, random_state=0).fit(R)
    named = ImplicitALS(factors=4, iterations=2, random_state=0)
    named.fit(Interactions(R, user_ids=users, item_ids=items))
    if loaded:
        named.save(tmp_path / "model")
        named = fastals.load(tmp_path / "model")
    assert np.array_equal(named.user_ids_, users)
    assert np.array_equal(named.item_ids_, items)
    assert plain.user_ids_ is plain.item_ids_ is None

    def same(ours, theirs, names=items):
        assert np.array_equal(ours[0][theirs[0] >= 0], names[theirs[0][theirs[0] >= 0]])
        assert (ours[0][theirs[0] < 0] == named._fitted.items.names(np.array([-1]))).all()
        assert same_bits(ours[1], theirs[1])

    same(named.recommend(n=19), plain.recommend(n=19))
    same(named.recommend(users[4], exclude=items[[1, 2]]), plain.recommend(4, exclude=[1, 2]))
    same(named.recommend([users[4]], allow=[items[3:9]]), plain.recommend([4], allow=[range(3, 9)]))
    same(named.similar_items(items[[2, 5]]), plain.similar_items([2, 5]))
    same(named.similar_users(users[2]), plain.similar_users(2), users)
    assert same_bits(named.predict(users[3], items), plain.predict(3, range(20)))
    assert np.array_equal(named.explain(users[0], items[1]).items, items[plain.explain(0, 1).items])
    blocks = list(named.recommend_blocks(users[:5], block_size=2))
    assert np.array_equal(np.concatenate([block[0] for block in blocks]), users[:5])
    new = Interactions.from_triplets(np.repeat("new", 2), items[[7, 4]])
    wanted = np.zeros((1, 20))
    wanted[0, [4, 7]] = 1
    assert same_bits(named.fold_in_users(new), plain.fold_in_users(wanted))
    same(named.recommend(new, fold_in=True), plain.recommend(wanted, fold_in=True))
    everything = Interactions.from_triplets(users[rows], items[columns], R[rows, columns])
    if len(everything.user_ids) == 30:
        assert named.loss(everything) == plain.loss(R)


def test_ids_that_the_model_does_not_know():
    model = fitted()
    model.fit(Interactions.from_triplets(["a", "b"], [5, 6]))
    new = Interactions.from_triplets(["z"], [9])
    for call, sentence in (
        (lambda: model.recommend("c"), r"users is 'c', which is not among the 2 ids of the model"),
        (lambda: model.recommend("a", exclude=[7]), r"exclude\[0\] is 7, which is not among the 2 ids"),
        (lambda: model.predict("a", 7), r"items is 7"),
        (lambda: model.similar_items([5, 7]), r"items\[1\] is 7"),
        (lambda: model.fold_in_users(new), r"^R_new.item_ids\[0\] is 9, .*; unknown='ignore' leaves such ids out$"),
        (lambda: model.fold_in_users({"u": [1], "i": [9]}, user="u", item="i"), r"^column 'i'.*; unknown='ignore'"),
        (lambda: model.fold_in_items(new), r"^R_new.user_ids\[0\] is 'z', .*; unknown='ignore'"),
        (lambda: model.recommend(new, fold_in=True), r"^users.item_ids\[0\] is 9, .*; unknown='ignore'"),
        (lambda: model.partial_fit_users(["z"], new), r"^R_rows.item_ids\[0\] is 9, .* ids of the model$"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


# Threads and processes.


def test_many_threads_ask_one_model():
    R = stored(example(300, 90), "float32")
    model = ImplicitALS(factors=8, iterations=2, random_state=0, n_threads=2).fit(R)
    few = R[[5]]
    questions = {
        "all": lambda: model.recommend()[1],
        "one": lambda: model.recommend(7)[1],
        "new": lambda: model.recommend(few, fold_in=True)[1],
        "fold in": lambda: model.fold_in_users(R),
        "items": lambda: model.similar_items(range(90))[1],
        "users": lambda: model.similar_users(5)[1],
        "why": lambda: model.explain(3, 4).contributions,
    }
    wanted = {name: ask() for name, ask in questions.items()}
    model._fitted.items._derived.clear()
    failures, end = [], time.monotonic() + 1.0

    def use(seed):
        order = np.random.default_rng(seed)
        try:
            for _ in range(1000):
                name = str(order.choice(list(questions)))
                assert same_bits(questions[name](), wanted[name]), name
                if time.monotonic() > end:
                    return
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_blocks_are_of_the_model_that_was_asked():
    """New items and users between two blocks are for those who ask after them."""
    model = fitted()
    ids = model.recommend(None, 5, exclude=[3])[0]
    blocks = model.recommend_blocks(None, 5, 10, exclude=[3])
    found = [next(blocks)[1]]
    model.partial_fit_items([20], stored(example(30, 1)))
    model.partial_fit_users([30], stored(example(1, 21)))
    found += [block[1] for block in blocks]
    assert np.array_equal(np.concatenate(found), ids)


def _answer(pipe, path):
    model = fastals.load(path)
    pipe.send(model.recommend()[1].tobytes() + model.similar_items(range(20))[1].tobytes())


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_another_process_answers_the_same(method, tmp_path, monkeypatch):
    model = fitted(n_threads=2)
    model.save(tmp_path / "model.npz")
    wanted = model.recommend()[1].tobytes() + model.similar_items(range(20))[1].tobytes()
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, tmp_path / "model.npz"))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == wanted
    process.join(60)
    assert process.exitcode == 0


def test_far_too_many_threads():
    model = fitted(n_threads=2).set_params(n_threads=10**6)
    with pytest.raises(ValueError, match="n_threads must be at most 1024, got 1000000; None takes what is there"):
        model.recommend()


def test_dislikes_make_no_item_popular():
    R = np.zeros((9, 4))
    R[:, 0] = -1.0  # disliked by all
    R[:2, 1], R[:3, 2] = 1.0, 2.0
    model = ImplicitALS(2, random_state=0).fit(R)
    newcomer = sparse.csr_array((1, 4))
    assert model.recommend(newcomer, 4, fold_in=True)[0].tolist() == [[2, 1, 0, 3]]
    assert model.recommend(newcomer, 4, fold_in=True)[1].tolist() == [[3, 2, 0, 0]]
    model.update(8, 3, 1.0).update(8, 1, -2.0).partial_fit_items([0], np.ones((9, 1)))
    assert model.recommend(newcomer, 4, fold_in=True)[1].tolist() == [[9, 3, 2, 1]]
