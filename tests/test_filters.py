"""Filters against NumPy's masks: what is chosen from, and what is recommended."""

from __future__ import annotations

import gc
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import ImplicitALS, Interactions
from fastals.data.ids import Ids
from fastals.filters import EVERYTHING, KEPT, choice_of
from fastals.fitted import Side, pack
from tests.helpers import observed, stored
from tests.test_recommend import exact_model
from tests.test_topk import full_sort

# What is chosen from.

NAMES = np.array([f"i{number:02}" for number in range(15)])


def side(ids: bool) -> Side:
    return Side(np.zeros((15, 16), np.float32), 3, False, Ids("item_ids", NAMES) if ids else None)


def left_out(choice, rows: int) -> np.ndarray:
    """Return the mask that a choice stands for."""
    mask = np.zeros((rows, 15), bool)
    if choice.barred is not None:
        mask |= choice.barred
    for lists, inside in ((choice.excluded, True), (choice.allowed, False)):
        if lists is None:
            continue
        assert lists.indptr.dtype == np.int64
        assert lists.indices.dtype == np.int32
        for row, place in enumerate(lists.rows):
            listed = np.isin(np.arange(15), lists.indices[lists.indptr[place] : lists.indptr[place + 1]])
            mask[row] |= listed == inside
    return mask


@given(
    exclude=st.sampled_from([None, "all", "lists", "sparse", "interactions"]),
    allow=st.sampled_from([None, "all", "lists", "sparse", "interactions"]),
    ids=st.booleans(),
    rows=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_choice_is_a_mask(exclude, allow, ids, rows, seed):
    rng = np.random.default_rng(seed)
    names = NAMES if ids else np.arange(15)
    wanted, given_ = np.zeros((rows, 15), bool), {"exclude": None, "allow": None}
    for name, form in (("exclude", exclude), ("allow", allow)):
        if form is None:
            continue
        listed = [rng.integers(0, 15, rng.integers(0, 9)) for _ in range(1 if form == "all" else rows)]
        mask = np.broadcast_to(mask_of(listed, 15), (rows, 15))
        order = rng.permutation(15)
        given_[name] = {
            "all": names[listed[0]],
            "lists": [names[row] for row in listed],
            "sparse": sparse.csc_array(mask.astype(np.float32)),
            "interactions": Interactions(mask[:, order].astype(np.float32), item_ids=names[order])
            if ids
            else Interactions(mask.astype(np.float32)),
        }[form]
        wanted |= mask if name == "exclude" else ~mask
    choice = choice_of(rows, side(ids), **given_)
    np.testing.assert_array_equal(left_out(choice, rows), wanted)
    some = rng.integers(0, rows, 3)
    np.testing.assert_array_equal(left_out(choice.part(some), 3), wanted[some])
    np.testing.assert_array_equal(left_out(choice.part(slice(1, None)), rows - 1), wanted[1:])


def test_without_filters_there_is_nothing_to_leave_out():
    assert choice_of(3, side(False), None, None) is EVERYTHING
    columns = pack(np.ones((15, 2), np.float32), None, True)
    assert EVERYTHING.of(columns) is columns


# What is recommended.


def wanted_for(scores, left_out, n, min_score=-np.inf):
    ids, best = full_sort(np.where(left_out | (scores < min_score), -np.inf, scores), left_out, n)
    ids[best == -np.inf] = -1
    return ids, best


def mask_of(per_user: list[list[int]], n_items: int) -> np.ndarray:
    mask = np.zeros((len(per_user), n_items), bool)
    for row, items in enumerate(per_user):
        mask[row, items] = True
    return mask


@given(
    biases=st.booleans(),
    exclude=st.sampled_from([None, "all", "lists", "sparse", "interactions"]),
    allow=st.sampled_from([None, "all", "lists", "sparse"]),
    min_score=st.sampled_from([None, -1, 2.5]),
    exclude_seen=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_filters_are_masks(biases, exclude, allow, min_score, exclude_seen, seed):
    model, scores, seen = exact_model(biases, "float32", seed)
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 20, 9)
    left_out = seen[users] if exclude_seen else np.zeros((9, 15), bool)
    arguments = {}
    for name, form in (("exclude", exclude), ("allow", allow)):
        if form is None:
            continue
        listed = [rng.integers(0, 15, rng.integers(0, 9)).tolist() for _ in range(1 if form == "all" else 9)]
        mask = np.broadcast_to(mask_of(listed, 15), (9, 15))
        forms = {
            "all": lambda listed=listed: np.array(listed[0], int),
            "lists": lambda listed=listed: listed,
            "sparse": lambda mask=mask: sparse.coo_array(mask.astype(np.float32)),
            "interactions": lambda mask=mask: Interactions(mask.astype(np.float32)),
        }
        arguments[name] = forms[form]()
        left_out = left_out | (mask if name == "exclude" else ~mask)
    ids, best = model.recommend(users, 6, min_score=min_score, exclude_seen=exclude_seen, **arguments)
    minimum = -np.inf if min_score is None else min_score
    wanted_ids, wanted = wanted_for(scores[users], left_out, 6, minimum)
    assert np.array_equal(ids, wanted_ids)
    assert np.array_equal(best, wanted)


def test_filters_that_leave_nothing_give_nothing():
    model, _, _ = exact_model(True, "float32", 0)
    everything = range(15)
    for arguments in ({"allow": []}, {"exclude": everything}, {"allow": [3], "exclude": [3]}, {"min_score": 1e9}):
        ids, scores = model.recommend([0, 1], 3, **arguments)
        assert (ids == -1).all()
        assert (scores == -np.inf).all()


def test_one_user_with_filters_of_its_own():
    model, _, _ = exact_model(False, "float32", 0)
    ids, scores = model.recommend(3, 4, exclude=[1, 2])
    for exclude in ([[2, 1, 1]], sparse.csr_array(mask_of([[1, 2]], 15))):
        one = model.recommend(3, 4, exclude=exclude)
        assert np.array_equal(one[0], ids)
        assert np.array_equal(one[1], scores)


@pytest.mark.parametrize("form", ["lists", "sparse"])
def test_blocks_with_filters_of_each_user(form):
    model, _, _ = exact_model(True, "float32", 0)
    rng = np.random.default_rng(0)
    users = rng.integers(0, 20, 9)
    exclude, allow = ([rng.integers(0, 15, size).tolist() for size in range(start, 9 + start)] for start in (0, 5))
    filters = {"exclude": exclude, "allow": allow}
    if form == "sparse":
        filters = {name: sparse.csr_array(mask_of(lists, 15)) for name, lists in filters.items()}
    ids, scores = model.recommend(users, 4, **filters)
    blocks = list(model.recommend_blocks(users, 4, block_size=4, **filters))
    assert np.array_equal(np.concatenate([block[1] for block in blocks]), ids)
    assert np.array_equal(np.concatenate([block[2] for block in blocks]), scores)


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("name", ["exclude", "allow"])
@pytest.mark.parametrize("number", [5 * 10**8, 200, -5])
def test_filters_that_point_outside_are_refused(form, name, number):
    """SciPy takes such arrays, and neither it nor a kernel looks."""
    model, _, _ = exact_model(False, "float32", 0)
    cells = np.ones(1), np.array([number], np.int32)
    if form == "csr":
        given, side = sparse.csr_array((*cells, np.array([0, 1], np.int32)), shape=(1, 15)), "column"
    else:
        given, side = sparse.csc_array((*cells, np.array([0] + [1] * 15, np.int32)), shape=(1, 15)), "row"
    with pytest.raises(ValueError, match=rf"{name} is not a valid {form.upper()} matrix .*: a {side} number is not in"):
        model.recommend(3, 4, **{name: given})


def test_filters_by_interactions_go_by_their_ids():
    names = np.array([f"i{number:02}" for number in range(15)])
    model = ImplicitALS(factors=3, iterations=1, random_state=0).fit(
        Interactions(stored(observed(np.random.default_rng(0), 20, 15, 0.3)), user_ids=range(20, 40), item_ids=names)
    )
    order = np.random.default_rng(1).permutation(15)
    mask = mask_of([[1, 2, 9], [4]], 15).astype(np.float32)
    wanted = model.recommend([23, 24], 4, exclude=mask_to_lists(mask, names))
    for exclude in (Interactions(mask[:, order], item_ids=names[order]), Interactions(sparse.csr_array(mask))):
        assert np.array_equal(model.recommend([23, 24], 4, exclude=exclude)[0], wanted[0])
    few = Interactions(np.ones((1, 2)), item_ids=names[[7, 4]])
    assert set(model.recommend(23, 2, allow=few, exclude_seen=False)[0]) == set(names[[7, 4]])
    with pytest.raises(ValueError, match=r"exclude: item_ids\[0\] is 'x', which is not among the 15 ids"):
        model.recommend(23, 2, exclude=Interactions(np.ones((1, 1)), item_ids=["x"]))
    alike = model.similar_users(23, 3, allow=Interactions(np.ones((1, 3)), item_ids=[39, 21, 30]))[0]
    assert set(alike) == {39, 21, 30}


def mask_to_lists(mask: np.ndarray, names: np.ndarray) -> list[np.ndarray]:
    return [names[row > 0] for row in mask]


# Filters that are made once.


@given(
    biases=st.booleans(),
    plain=st.booleans(),
    exclude=st.sampled_from([None, "ids", "filter", "lists"]),
    allow=st.sampled_from([None, "ids", "filter"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_item_filter_does_what_its_ids_do(biases, plain, exclude, allow, seed):
    model, _, _ = exact_model(biases, "float32", seed)
    model.set_params(solver="plain" if plain else "auto")
    rng = np.random.default_rng(seed)
    ids, given_ = {}, {}
    for name, form in (("exclude", exclude), ("allow", allow)):
        if form is not None:
            ids[name] = rng.integers(0, 15, rng.integers(0, 12))
            given_[name] = {"ids": ids[name], "filter": model.item_filter(ids[name]), "lists": [ids[name]] * 4}[form]
    for _ in range(2):
        for users in (rng.integers(0, 20, 4), None if exclude != "lists" else [1, 2, 3, 4]):
            for one, other in zip(model.recommend(users, 6, **given_), model.recommend(users, 6, **ids), strict=True):
                assert np.array_equal(one, other)
        if exclude != "lists":
            asked = model.similar_items(3, 5, **given_), model.similar_items(3, 5, **ids)
            assert np.array_equal(*(ids for ids, _ in asked))


def test_an_item_filter_holds_for_users_without_factors():
    model = ImplicitALS(2, iterations=1, random_state=0).fit(
        sparse.coo_array(([1.0] * 5, ([0, 1, 2, 0, 1], [0, 0, 0, 1, 2])), (4, 3))
    )
    assert model.recommend(3, 3)[0].tolist() == [0, 1, 2]
    assert model.recommend(3, 3, exclude=model.item_filter(0))[0].tolist() == [1, 2, -1]
    assert model.recommend(3, 3, allow=model.item_filter([2, 2]))[0].tolist() == [2, -1, -1]


def test_an_item_filter_stays_while_items_keep_their_numbers(tmp_path):
    R = Interactions.from_triplets(["a", "a", "b", "c"], ["x", "y", "y", "z"])
    model = ImplicitALS(2, random_state=0).fit(R)
    only = model.item_filter(["y", "z"])
    assert (len(only), repr(only)) == (2, "ItemFilter(2 of 3 items)")
    model.update("d", "new").update("a", "x").partial_fit_items(["newer"], np.ones((4, 1)))
    model.item_factors_ = model.item_factors_ * 2
    assert sorted(model.recommend("d", 5, allow=only)[0].tolist()) == ["", "", "", "y", "z"]
    assert sorted(model.recommend("d", 5, exclude=only, exclude_seen=False)[0].tolist()) == [
        "",
        "",
        "new",
        "newer",
        "x",
    ]
    again, filter_ = pickle.loads(pickle.dumps((model, only)))
    assert sorted(again.recommend("d", 2, allow=filter_)[0].tolist()) == ["y", "z"]
    model.save(tmp_path / "model")
    sentence = (
        r"^allow is ItemFilter\(2 of 3 items\), of another model, of this one before it was fitted or loaded anew"
    )
    for other in (
        fastals.load(tmp_path / "model.npz"),
        ImplicitALS(2, random_state=0).fit(R),
        model.refit(Interactions(np.ones((4, 5)), user_ids=model.user_ids_, item_ids=model.item_ids_)),
    ):
        with pytest.raises(ValueError, match=sentence):
            other.recommend("a", 2, allow=only)
    with pytest.raises(ValueError, match="or of items where users are wanted"):
        model.similar_users("a", exclude=model.item_filter("x"))
    with pytest.raises(AttributeError, match="do not change"):
        only.listed = None
    with pytest.raises(ValueError, match=r"items.1. is 'q', which is not among the 5 ids of the model"):
        model.item_filter(["x", "q"])
    with pytest.raises(ValueError, match="unknown must be one of 'raise', 'ignore', got 'x'"):
        model.item_filter(["x"], unknown="x")
    assert len(model.item_filter(["x", "q"], unknown="ignore")) == 1


def test_an_item_filter_keeps_few_offsets_and_no_factors():
    model = ImplicitALS(2, iterations=1, random_state=0).fit(np.eye(4))
    only = model.item_filter([1, 2])
    columns = [weakref.ref(model._state.items.columns(False).strips)]
    for number in range(20):
        model.recommend(0, 2, allow=only)
        model.update(0, number % 4)
        columns.append(weakref.ref(model._state.items.columns(False).strips))
    assert len(only._kept) <= KEPT
    gc.collect()
    assert sum(made() is not None for made in columns) == 1


@pytest.mark.parametrize("numbers", [False, True])
def test_unknown_items_of_filters_may_be_ignored(numbers):
    R = np.ones((3, 4)) - np.eye(3, 4)
    names = [0, 1, 2, 3] if numbers else ["a", "b", "c", "d"]
    strange = 99 if numbers else "no"
    model = ImplicitALS(2, random_state=0).fit(R if numbers else Interactions(R, item_ids=names))
    for name in ("exclude", "allow"):
        for form in (lambda ids: ids, lambda ids: [ids, ids]):
            ids = model.recommend([0, 1], 4, exclude_seen=False, **{name: form([names[1]])})[0]
            more = {name: form([strange, names[1], strange])}
            assert np.array_equal(model.recommend([0, 1], 4, exclude_seen=False, unknown="ignore", **more)[0], ids)
            with pytest.raises(ValueError, match=rf"{name}.*\[0\] is {strange!r}"):
                model.recommend([0, 1], 4, exclude_seen=False, **more)
    if not numbers:
        both = Interactions([[1, 1]], item_ids=["no", "b"])
        ids = model.recommend(0, 4, exclude_seen=False, allow=both, unknown="ignore")[0]
        assert ids.tolist() == ["b", "", "", ""]
