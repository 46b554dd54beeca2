"""What a fit takes: every form of the same matrix gives the same bits, every wrong one is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS, read_table
from tests.helpers import (
    CLASSIC,
    GOOD,
    SMALL,
    every_model,
    example,
    fitted,
    refused,
    same_bits,
    same_model,
    stored,
    weights_of,
)

# Every form of the same input.


def forms(R: np.ndarray) -> dict[str, object]:
    cells = stored(R, "float32")
    rows, columns = cells.nonzero() if cells.data.all() else np.nonzero(~np.isnan(R))
    int32, int64, unsorted = cells.copy(), cells.copy(), cells.copy()
    int32.indptr, int32.indices = cells.indptr.astype(np.int32), cells.indices.astype(np.int32)
    int64.indptr, int64.indices = cells.indptr.astype(np.int64), cells.indices.astype(np.int64)
    mixed = int64.copy()
    mixed.indices = cells.indices.astype(np.int32)
    reverse = np.lexsort((-columns, rows))
    unsorted = sparse.csr_array((cells.data[reverse], cells.indices[reverse], cells.indptr), shape=R.shape)
    shuffled = np.random.default_rng(0).permutation(cells.nnz)
    twice = sparse.coo_array((np.tile(cells.data / 2, 2), (np.tile(rows, 2), np.tile(columns, 2))), shape=R.shape)
    strided = sparse.csr_array(R.shape, dtype=np.float32)
    strided.data, strided.indices, strided.indptr = (
        np.repeat(array, 2)[::2] for array in (cells.data, int32.indices, int64.indptr)
    )
    return {
        "csr, int32": int32,
        "csr, int64": int64,
        "csr, mixed": mixed,
        "csr, unsorted": unsorted,
        "csr, strided": strided,
        "csr_matrix": sparse.csr_matrix(cells),
        "csc": cells.tocsc(),
        "csc_matrix": sparse.csc_matrix(cells),
        "coo": sparse.coo_array((cells.data[shuffled], (rows[shuffled], columns[shuffled])), shape=R.shape),
        "duplicates": twice,
        "bsr": sparse.bsr_array(cells, blocksize=(1, 1)),
        "lil": sparse.lil_array(cells),
        "dok": sparse.dok_array(cells),
        "float64": cells.astype(np.float64),
        "float16": sparse.csr_array((cells.data.astype(np.float16), cells.indices, cells.indptr), shape=R.shape),
        "triplets": list(zip(rows.tolist(), columns.tolist(), cells.data.tolist(), strict=True)),
        "Interactions": Interactions(cells),
        "Interactions, float64": Interactions(cells, "float64"),
        "dense, NaN": R,
        "dense, Fortran order": np.asfortranarray(R),
        "lists, NaN": R.tolist(),
    }


@pytest.mark.parametrize("form", forms(example()))
@every_model
def test_any_form_gives_the_same_bits(cls, form):
    R = example(11)
    # The last user and the last item must be there: triplets do not tell a shape. A halved value must be exact.
    R[-1, -1] = 1.0
    R[R == 0] = 2.0  # LIL, DOK and dense input of ImplicitALS do not keep a stored 0.
    given_ = forms(R)[form]
    if cls is ImplicitALS and isinstance(given_, (np.ndarray, list)) and form != "triplets":
        given_ = np.nan_to_num(R) if isinstance(given_, np.ndarray) else np.nan_to_num(R).tolist()
    settings_ = {"factors": 3, "iterations": 2, "random_state": 0}
    wanted = cls(**settings_).fit(stored(R, "float32"))
    assert same_model(cls(**settings_).fit(given_), wanted)
    assert same_bits(wanted.fold_in_users(given_), wanted.fold_in_users(stored(R)))
    assert wanted.loss(given_) == wanted.loss(stored(R))


def test_bool_and_integers_are_numbers():
    R = np.where(np.isnan(example(12)), 0, 1)
    wanted = fitted(R=np.where(R, 1.0, np.nan))
    for dtype in (bool, np.int8, np.uint16, np.int64):
        assert same_model(ImplicitALS(**SMALL).fit(sparse.csr_array(R.astype(dtype))), wanted)
        assert same_model(ImplicitALS(**SMALL).fit(R.astype(dtype)), wanted)
    for dtype in (np.float16, *(np.dtype(kind).newbyteorder() for kind in (np.float64, np.float32, np.int32))):
        cells = sparse.coo_array(R)
        cells.data = cells.data.astype(dtype)
        assert same_model(ImplicitALS(**SMALL).fit(R.astype(dtype)), wanted)
        assert same_model(ImplicitALS(**SMALL).fit(cells), wanted)


def test_zeros_and_signs():
    zero, missing = np.array([[1.0, 0.0], [2.0, 3.0]]), np.array([[1.0, np.nan], [2.0, 3.0]])
    assert same_model(fitted(R=zero), fitted(R=missing))
    for cls in (ExplicitALS, WeightedALS):
        assert not same_model(fitted(cls, R=zero), fitted(cls, R=missing))
    # Disliked: weighs as much, wants 0.
    liked, disliked = np.array([[1.0, 5.0], [1.0, np.nan]]), np.array([[1.0, -5.0], [1.0, np.nan]])
    weak = CLASSIC[ImplicitALS]
    assert fitted(R=liked, **weak).predict(0, 1) > 0.5 > fitted(R=disliked, **weak).predict(0, 1)


@pytest.mark.parametrize("form", ["dense", "1-D", "csc", "csr, unsorted", "lists"])
def test_every_form_of_cell_weights(form):
    R = example(13)
    weights = np.random.default_rng(0).choice([0.0, 0.5, 2.0], R.shape)
    wanted = WeightedALS(**SMALL).fit(stored(R), weights=weights_of(R, weights))
    places = ~np.isnan(R)
    reverse = np.lexsort((-np.nonzero(places)[1], np.nonzero(places)[0]))
    cells, theirs = stored(R), weights_of(R, weights)
    R_given, weights_given = {
        "dense": (R, np.where(places, weights, np.nan)),
        "1-D": (cells, weights[places]),
        "csc": (cells.tocsc(), theirs.tocsc()),
        "csr, unsorted": (
            sparse.csr_array((cells.data[reverse], cells.indices[reverse], cells.indptr), shape=R.shape),
            weights[places][reverse],
        ),
        "lists": (R.tolist(), weights.tolist()),
    }[form]
    model = WeightedALS(**SMALL).fit(R_given, weights=weights_given)
    assert same_model(model, wanted)
    assert model.loss(R_given, weights=weights_given) == wanted.loss(stored(R), weights=weights_of(R, weights))


def test_weights_in_interactions_count():
    R = example(14)
    weights = np.random.default_rng(0).choice([0.5, 2.0], stored(R).nnz)
    wanted = WeightedALS(**SMALL).fit(stored(R), weights=weights)
    for dtype in ("float32", "float64"):
        assert same_model(WeightedALS(**SMALL).fit(Interactions(stored(R), dtype, weights=weights)), wanted)
        # One weight for all is kept as one number, and is still a weight.
        twos = Interactions(stored(R), dtype, weights=np.full(stored(R).nnz, 2.0))
        assert not same_model(WeightedALS(**SMALL).fit(twos), WeightedALS(**SMALL).fit(stored(R)))


@every_model
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_input_is_not_modified(cls, dtype):
    canonical = stored(example(), dtype)
    unsorted = canonical[:, ::-1]
    assert not unsorted.has_sorted_indices
    parts = {"csr": ("data", "indices", "indptr"), "csc": ("data", "indices", "indptr"), "coo": ("data", "row", "col")}
    for cells in (canonical, unsorted, canonical.tocsc(), canonical.tocoo()):
        given_ = cells.copy()
        model = cls(factors=3, iterations=2, dtype=dtype).fit(given_)
        model.fold_in_users(given_)
        model.fold_in_items(given_)
        model.loss(given_)
        for part in parts[cells.format]:
            assert same_bits(getattr(given_, part), getattr(cells, part))
    dense = np.nan_to_num(example()).astype(dtype)
    given_ = dense.copy()
    cls(factors=3, iterations=1, dtype=dtype).fit(given_)
    assert same_bits(given_, dense)


def test_read_only_input_is_as_good():
    """Memory maps and arrays that joblib shares are read-only."""
    given_ = stored(example(), "float32")
    wanted = fitted(dtype="float32", R=example())
    for part in ("data", "indices", "indptr"):
        getattr(given_, part).flags.writeable = False
    assert same_model(ImplicitALS(**(SMALL | {"dtype": "float32"})).fit(given_), wanted)


# Bad input: each sentence, before any work, with nothing fitted lost.


def with_cell(value, dtype=np.float64) -> sparse.csr_array:
    R = example().astype(dtype)
    R[3, 5] = value
    return stored(R, dtype)


@pytest.mark.parametrize(
    ("R", "error", "sentence"),
    [
        (
            with_cell(np.inf),
            ValueError,
            r"R is not finite in 1 of \d+ entries, the first at row 3, column 5: inf; drop or mend these entries first",
        ),
        (
            np.where(np.arange(20) == 4, np.nan, np.ones((2, 1))),
            ValueError,
            r"R is not finite in 2 of 40 entries, the first at row 0, column 4: nan; drop or mend these entries first",
        ),
        (sparse.csr_array((0, 5)), ValueError, r"R has shape \(0, 5\): at least one user and one item are wanted"),
        (np.zeros((5, 0)), ValueError, r"R has shape \(5, 0\): at least one user and one item are wanted"),
        (
            np.zeros((5, 4)),
            ValueError,
            r"R of shape \(5, 4\) has no entries to learn from: at least one is wanted",
        ),
        (np.ones(5), ValueError, r"R must have 2 dimensions, users x items, got shape \(5,\)"),
        (np.ones((2, 3, 4)), ValueError, r"R must have 2 dimensions, users x items, got shape \(2, 3, 4\)"),
        ([], ValueError, r"R must have 2 dimensions, users x items, got shape \(0,\)"),
        pytest.param(
            sparse.coo_array(np.ones(5)),
            ValueError,
            r"R must have 2 dimensions, users x items, got shape \(5,\)",
            marks=pytest.mark.skipif(sparse.coo_array(np.ones(5)).ndim == 2, reason="SciPy before 1.13: one row"),
        ),
        (
            np.array([["a", "b"]]),
            TypeError,
            "R must hold real numbers, got dtype <U1; convert its values first",
        ),
        (
            np.ones((2, 2), complex),
            TypeError,
            "R must hold real numbers, got dtype complex128; convert its values first",
        ),
        (
            sparse.csr_array(np.ones((2, 2), complex)),
            TypeError,
            "R must hold real numbers, got dtype complex128; convert its values first",
        ),
        (
            np.array([[None, 1]]),
            TypeError,
            "R must hold real numbers, got dtype object; convert its values first",
        ),
        ([[1, 2], [3]], ValueError, r"R must be an array of numbers: its rows differ in length \(.*\)"),
        (
            "ratings.csv",
            TypeError,
            r"R must be a SciPy sparse matrix, a 2-D array, a table or Interactions, got the string 'ratings.csv'; "
            r"read the file first: fastals.read_table\('ratings.csv', user=..., item=...\), or a public data set by "
            r"fastals.datasets.read_ratings$",
        ),
        ([(0, -1, 1.0)], ValueError, r"R\[0\]: the item must be at least 0, got -1"),
        ([(0, 1, 1.0), (0.5, 1, 1.0)], TypeError, r"R\[1\]: the user must be an integer, got 0.5"),
        (
            [("ann", 1, 1.0)],
            TypeError,
            r"R\[0\]: the user must be an integer, got 'ann'; fastals.Interactions.from_triplets.* takes text",
        ),
        (
            [(0, 1), (2, 3)],
            TypeError,
            r"R is a list of pairs: give \(user, item, value\) tuples, such as \(0, 1, 1.0\), or .*",
        ),
        ([(0, 1, "5")], TypeError, r"R\[0\]: the value must be a number, got '5'"),
        (
            [(2**40, 1, 1.0)],
            ValueError,
            r"R\[0\]: the user must be below 2147483647, got 1099511627776; .* from 0, without gaps",
        ),
        (
            np.ma.masked_less(np.ones((2, 2)), 0),
            TypeError,
            r"R is a masked array, whose mask would be lost; pass R.filled\(0\), or R.filled\(nan\) .*",
        ),
    ],
)
def test_wrong_matrices(R, error, sentence):
    refused(sentence, error, fitted(), R)


def test_cells_too_large_for_the_dtype():
    sentence = (
        r"R is too large for float32 in 1 of \d+ entries, the first at row 3, column 5: 1e\+39; "
        "rescale, or use dtype='float64'"
    )
    refused(sentence, ValueError, fitted(dtype="float32"), with_cell(1e39))
    assert Interactions(with_cell(1e39), "float64").csr[3, 5] == 1e39


@pytest.mark.parametrize(
    ("weights", "error", "sentence"),
    [
        (np.ones(3), ValueError, r"weights must have one number for each stored entry of R, .*, got shape \(3,\)"),
        (
            sparse.csr_array((30, 19)),
            ValueError,
            r"weights has shape \(30, 19\), R has \(30, 20\): they must be equal",
        ),
        (
            sparse.csr_array(np.ones((30, 20))),
            ValueError,
            r"weights must store exactly the entries of R: it has 600 entries, R has \d+",
        ),
        (
            sparse.csr_array((np.ones(GOOD.nnz), (GOOD.indices + 1) % 20, GOOD.indptr), shape=(30, 20)),
            ValueError,
            r"weights must store exactly the entries of R: it has \d+ entries, R has \d+ in other places",
        ),
        (
            np.where(np.arange(GOOD.nnz) == 0, -1.0, 1.0),
            ValueError,
            r"weights is not finite or below 0 in 1 of \d+ entries, the first at row 0, column \d+: -1.0; drop .*",
        ),
        (
            np.where(np.arange(GOOD.nnz) == 0, np.nan, 1.0),
            ValueError,
            r"weights is not finite or below 0 in 1 of \d+ entries, the first at row 0, column \d+: nan; drop .*",
        ),
        (np.full(GOOD.nnz, "a"), TypeError, "weights must hold real numbers, got dtype <U1; convert its values first"),
        (
            GOOD.astype(complex),
            TypeError,
            "weights must hold real numbers, got dtype complex128; convert its values first",
        ),
        ([[1, 2], [3]], ValueError, r"weights must be an array of numbers: its rows differ in length \(.*\)"),
    ],
)
def test_wrong_cell_weights(weights, error, sentence):
    refused(sentence, error, fitted(WeightedALS), GOOD, weights=weights)


def test_cell_weights_whose_order_is_not_known():
    sentence = (
        "weights is an array and R is neither CSR nor dense, so the order of its entries is not kept: "
        "pass R as CSR or weights as a sparse matrix"
    )
    for R in (GOOD.tocoo(), GOOD.tocsc(), [(0, 1, 1.0), (0, 0, 1.0)]):
        refused(sentence, ValueError, fitted(WeightedALS), R, weights=np.ones(2 if isinstance(R, list) else R.nnz))


def test_cell_weights_on_duplicates():
    R = sparse.csr_array((np.ones(3), [1, 0, 1], [0, 0, 3]), shape=(2, 2))
    sentence = (
        "R holds row 1, column 1 more than once, and weights are given: a sum has no one weight; merge duplicates first"
    )
    refused(sentence, ValueError, fitted(WeightedALS), R, weights=np.ones(3))


@pytest.mark.parametrize("form", ["COO", "triplets", "COO weights"])
def test_cell_weights_on_duplicates_that_scipy_would_sum(form):
    once = sparse.csr_array((np.ones(2), [1, 0], [0, 0, 2]), shape=(2, 2))
    twice = sparse.coo_array((np.ones(3), ([1, 1, 1], [1, 0, 1])), shape=(2, 2))
    R, weights = {
        "COO": (twice, once),
        "triplets": ([(1, 1, 1.0), (1, 0, 1.0), (1, 1, 2.0)], once),
        "COO weights": (once, twice),
    }[form]
    name = "weights" if form == "COO weights" else "R"
    sentence = (
        f"{name} holds row 1, column 1 more than once, and weights are given: a sum has no one weight; "
        "merge duplicates first"
    )
    refused(sentence, ValueError, fitted(WeightedALS), R, weights=weights)


def test_cell_weights_too_large_for_the_dtype():
    sentence = r"weights is too large for float32 in (\d+) of \1 entries, the first at .*: 1e\+39; rescale, or .*"
    refused(sentence, ValueError, fitted(WeightedALS, dtype="float32"), GOOD, weights=np.full(GOOD.nnz, 1e39))


@pytest.mark.parametrize("read", [read_table, Interactions.from_frame, ImplicitALS(2).fit])
def test_one_column_is_not_both_users_and_items(read):
    with pytest.raises(ValueError, match=r"^user and item are both the column 'who': name the column of the items"):
        read({"who": ["ann", "bob"], "what": ["tea", "cup"]}, user="who", item="who")
