"""Each check: what it returns, and the sentence it refuses with."""

import inspect
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fastals.validation import (
    LONGEST,
    NotFittedError,
    Params,
    check_dtype,
    check_flag,
    check_ids,
    check_integer,
    check_number,
    check_option,
    check_random_state,
)


def refused(error: type[Exception], sentence: str, check, *args) -> None:
    with pytest.raises(error) as raised:
        check(*args)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int8(2), Fraction(2)])
def test_any_real_number_is_a_number(value):
    number = check_number("alpha", value, 2.0)
    assert number == 2.0
    assert type(number) is float


def test_what_is_not_a_number():
    refused(TypeError, "alpha must be a number, got '2' of type str", check_number, "alpha", "2")
    refused(TypeError, "alpha must be a number, got False of type bool", check_number, "alpha", False)
    refused(TypeError, "alpha must be a number, got 1j of type complex", check_number, "alpha", 1j)
    refused(TypeError, "alpha must be a number, got None of type NoneType", check_number, "alpha", None)
    refused(ValueError, "alpha must be finite, got nan", check_number, "alpha", float("nan"))
    refused(ValueError, "alpha must be finite, got -inf", check_number, "alpha", float("-inf"), 0.0)
    refused(ValueError, "alpha must be at least 0, got -1e-09", check_number, "alpha", -1e-9, 0.0)
    assert check_number("alpha", -1e-9) == -1e-9


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_any_integer_is_an_integer(value):
    number = check_integer("factors", value, 3)
    assert number == 3
    assert type(number) is int


def test_what_is_not_an_integer():
    refused(TypeError, "factors must be an integer, got 3.0 of type float", check_integer, "factors", 3.0, 1)
    refused(TypeError, "factors must be an integer, got True of type bool", check_integer, "factors", True, 1)
    refused(ValueError, "factors must be at least 1, got 0", check_integer, "factors", 0, 1)


HUGE = 10**400  # beyond float64
ENDLESS = 10**5000  # Python does not print it
HALF_SHOWN = "1" + "0" * (LONGEST // 2 - 1) + "... (401 characters)"
UNPRINTABLE = "a value of type int that cannot be printed"


def test_numbers_beyond_every_range():
    beyond = "alpha must be finite and of float64's range, below 1.8e308, got "
    refused(ValueError, beyond + HALF_SHOWN, check_number, "alpha", HUGE)
    refused(ValueError, beyond + UNPRINTABLE, check_number, "alpha", -ENDLESS, 0.0)
    with pytest.raises(ValueError, match=r"^alpha must be finite and of float64's range"):
        check_number("alpha", Fraction(HUGE, 3))
    if np.finfo(np.longdouble).max > np.finfo(float).max:
        with pytest.raises(ValueError, match=r"^alpha must be finite and of float64's range"):
            check_number("alpha", np.longdouble("1e4000"))
    refused(ValueError, f"factors must be at most {2**63 - 1}, got {2**63}", check_integer, "factors", 2**63, 1)
    refused(ValueError, f"factors must be at most {2**63 - 1}, got {UNPRINTABLE}", check_integer, "factors", ENDLESS, 1)
    refused(ValueError, f"factors must be at least 1, got {UNPRINTABLE}", check_integer, "factors", -ENDLESS, 1)
    assert check_random_state("random_state", ENDLESS).random() == np.random.default_rng(ENDLESS).random()


@pytest.mark.parametrize(
    "value",
    [Decimal(2), np.timedelta64(2, "D"), np.bool_(True), np.array(2), np.array([2]), np.datetime64("2020"), b"2"],
)
def test_kinds_that_pass_for_numbers_elsewhere(value):
    for check, what in ((check_number, "a number"), (check_integer, "an integer")):
        name = type(value).__name__
        refused(TypeError, f"n must be {what}, got {value!r} of type {name}", check, "n", value, 1)
    with pytest.raises(TypeError, match=f"^random_state must be an int, .* of type {name}$"):
        check_random_state("random_state", value)


def test_long_values_are_cut_in_messages():
    with pytest.raises(
        TypeError, match=r"^alpha must be a number, got \[0, 0, .*\.\.\. \(3000 characters\) of type list$"
    ):
        check_number("alpha", [0] * 1000)


def test_flags():
    assert check_flag("biases", np.True_) is True
    assert check_flag("biases", False) is False
    refused(TypeError, "biases must be True or False, got 1 of type int", check_flag, "biases", 1)


def test_options():
    assert check_option("solver", "cg", ("cg", "lu")) == "cg"
    refused(ValueError, "solver must be one of 'cg', 'lu', got 'qr'", check_option, "solver", "qr", ("cg", "lu"))
    refused(ValueError, "solver must be one of 'cg', got ['cg']", check_option, "solver", ["cg"], ("cg",))
    refused(
        ValueError, "solver must be one of 'cg', got array(['cg'], dtype='<U2')",
        check_option, "solver", np.array(["cg"]), ("cg",),
    )  # fmt: skip


@pytest.mark.parametrize("value", ["float32", np.float32, np.dtype("float32"), "f4"])
def test_dtypes(value):
    assert check_dtype("dtype", value) == np.float32


@pytest.mark.parametrize(
    "value",
    ["float16", "int32", "fp32", None, 7, {"names": 3}, "(3", [("a", "f4")], ">f4" if np.little_endian else "<f4"],
)
def test_other_dtypes(value):
    refused(ValueError, f"dtype must be 'float32' or 'float64', got {value!r}", check_dtype, "dtype", value)


def test_random_states():
    wanted = np.random.default_rng(3).random(4)
    for value in (3, np.int16(3), np.random.default_rng(3), np.random.SeedSequence(3)):
        assert np.array_equal(check_random_state("random_state", value).random(4), wanted)
    legacy = [check_random_state("random_state", np.random.RandomState(3)).random(4) for _ in range(2)]
    assert np.array_equal(*legacy)
    assert isinstance(check_random_state("random_state", None), np.random.Generator)


def test_other_random_states():
    kinds = "random_state must be an int, a numpy.random.Generator, RandomState or SeedSequence, or None, got "
    refused(TypeError, kinds + "'3' of type str", check_random_state, "random_state", "3")
    refused(TypeError, kinds + "3.0 of type float", check_random_state, "random_state", 3.0)
    refused(TypeError, kinds + "True of type bool", check_random_state, "random_state", True)
    refused(ValueError, "random_state must be at least 0, got -3", check_random_state, "random_state", -3)


@pytest.mark.parametrize(
    "ids", [[1, 4], (1, 4), np.array([1, 4], np.uint8), np.array([1, 4], np.int32), range(1, 5, 3)]
)
def test_ids(ids):
    checked = check_ids("users", ids, 5)
    assert checked.dtype == np.intp
    assert checked.tolist() == [1, 4]


def test_one_id_and_none():
    assert check_ids("users", np.int64(2), 3).tolist() == [2]
    empty = check_ids("users", [], 3)
    assert (empty.dtype, empty.shape) == (np.dtype(np.intp), (0,))


def test_other_ids():
    one_of_two = "users[1] is 3: ids run from 0 to 2 (1 of 2 are out of range)"
    refused(ValueError, one_of_two, check_ids, "users", [2, 3], 3)
    refused(ValueError, "users is -1: ids run from 0 to 2", check_ids, "users", -1, 3)
    huge = np.array([2**63], np.uint64)
    refused(ValueError, f"users[0] is {2**63}: ids run from 0 to 2", check_ids, "users", huge, 3)
    too_many = f"users[1] is {2**63}: ids run from 0 to 2 (1 of 2 are out of range)"
    refused(ValueError, too_many, check_ids, "users", [0, 2**63], 3)
    refused(ValueError, f"users is {HALF_SHOWN}: ids run from 0 to 2", check_ids, "users", HUGE, 3)
    numbered = "users must be integers, as users and items without ids are numbered, got"
    refused(TypeError, f"{numbered} object (the first is None)", check_ids, "users", None, 3)
    refused(TypeError, f"{numbered} timedelta64[D] (the first is datetime.timedelta(days=1))",
            check_ids, "users", np.array([1], "m8[D]"), 3)  # fmt: skip
    refused(TypeError, f"{numbered} float64 (the first is 1.0)", check_ids, "users", [1.0], 3)
    refused(TypeError, f"{numbered} bool (the first is True)", check_ids, "users", [True], 3)
    shape = "users must be one id or a 1-D array of ids, got an array of shape (1, 2)"
    refused(ValueError, shape, check_ids, "users", [[0, 1]], 3)
    ragged = "users must be one id or a 1-D array of ids, got a ragged list"
    refused(ValueError, ragged, check_ids, "users", [[0, 1], [2]], 3)


def test_not_fitted_is_what_callers_of_other_libraries_catch():
    assert issubclass(NotFittedError, ValueError)
    assert issubclass(NotFittedError, AttributeError)


class Example(Params):
    """Two parameters."""

    def __init__(self, size: int = 3, shape: object = None):
        self.size = size
        self.shape = shape


def test_params_are_those_of_the_signature():
    assert Example(4).get_params() == {"size": 4, "shape": None}
    assert list(Example().get_params(deep=False)) == list(inspect.signature(Example).parameters)


def test_set_params():
    example = Example()
    assert example.set_params(size=5) is example
    assert example.set_params().size == 5
    with pytest.raises(ValueError, match=r"^Example has no parameter 'sise'; it has size, shape$"):
        example.set_params(size=6, sise=7)
    assert example.size == 5


def test_repr():
    assert repr(Example()) == "Example()"
    assert repr(Example(3)) == "Example()"
    assert repr(Example(3.0)) == "Example(size=3.0)"
    assert repr(Example(shape=np.zeros(2))) == "Example(shape=array([0., 0.]))"


def test_scikit_learn_finds_the_tags_of_an_estimator():
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.utils import get_tags

    tags = get_tags(Example())
    assert tags.estimator_type is None
    assert not tags.target_tags.required
