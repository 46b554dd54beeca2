"""What an event counts: values, kinds and times."""

import datetime
import warnings

import numpy as np
import pytest

from fastals.data.events import as_times, decay, event_values


def without_unit(number):
    """NumPy 2.5 warns of such a duration."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.timedelta64(number)


def test_an_event_counts_one():
    assert event_values(3).values.tolist() == [1, 1, 1]


def test_value_kind_and_age_are_multiplied():
    counted = event_values(
        3, [1, 2, 3], times=[10, 20, 30], events=["view", "buy", "view"], weights={"view": 1, "buy": 5}, half_life=10
    )
    assert counted.values.tolist() == [0.25, 5.0, 3.0]


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
@pytest.mark.parametrize("half_life", [datetime.timedelta(days=2), np.timedelta64(48, "h")])
def test_datetimes(unit, half_life):
    times = np.array(["2024-01-05", "2024-01-01", "2024-01-03"], f"datetime64[{unit}]")
    assert decay(times, half_life).tolist() == [1.0, 0.25, 0.5]


def test_no_times():
    assert decay(np.zeros(0), 1).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"values": [1]}, ValueError, r"values must have one entry for each of the 2 events, got shape \(1,\)"),
        ({"values": ["a", "b"]}, TypeError, "values must be numbers, got <U1"),
        ({"half_life": 2}, ValueError, "half_life is given without times: give both, or neither"),
        ({"weights": {"view": 1}}, ValueError, "event weights is given without events"),
        ({"times": [1, 2], "half_life": 0}, ValueError, "half_life must be above 0, got 0"),
        ({"times": [1, 2], "half_life": "1d"}, TypeError, "half_life must be a number"),
        ({"times": [1, np.nan], "half_life": 1}, ValueError, r"times\[1\] is nan: 1 of 2 times are missing"),
        ({"times": ["a", "b"], "half_life": 1}, TypeError, "times must be datetime64 or numbers, got <U1"),
        (
            {"times": np.array(["2024-01-01", "NaT"], "M8[D]"), "half_life": datetime.timedelta(1)},
            ValueError,
            r"times\[1\] is NaT",
        ),
        ({"times": np.zeros(2, "M8[s]"), "half_life": 30}, TypeError, "half_life must be a timedelta as times are"),
        (
            {"events": ["buy", "like"], "weights": {"buy": 1, "view": 1}},
            ValueError,
            "event weights have no number for the event 'like'; they know 'buy', 'view'",
        ),
        ({"events": ["a", "a"], "weights": {"a": "1"}}, TypeError, r"weights\['a'\] must be a number"),
    ],
)
def test_wrong_events(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        event_values(2, **arguments)


DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us"])
def test_ages_of_centuries_are_exact(unit):
    """Between years 1 and 9999 lie 3,652,058 days, more than 64 bits of nanoseconds."""
    times = np.array(["0001-01-01", "9999-12-31"], f"M8[{unit}]")
    first, last = as_times("times", times).astype("M8[D]").astype(int)
    assert decay(as_times("times", times), 1e5 * DAY).tolist() == pytest.approx([0.5 ** ((last - first) / 1e5), 1])


def test_the_whole_range_of_nanoseconds_and_of_integers():
    times = np.array(["1677-09-22", "2262-04-11"], "M8[ns]")
    whole = datetime.date(2262, 4, 11) - datetime.date(1677, 9, 22)  # NumPy's own difference overflows
    assert decay(times, whole / 2).tolist() == pytest.approx([0.25, 1])
    assert decay(np.array([-(2**63), 2**63 - 1]), 2.0**63).tolist() == [0.25, 1]
    assert decay(np.array([-1e308, 1e308]), 1.0).tolist() == [0, 1]


def test_a_sentinel_year_makes_the_others_old_and_nothing_else():
    times = np.array(["2025-01-01", "2026-01-01", "9999-12-31"], "M8[s]")
    values = event_values(3, times=times, half_life=730 * DAY).values
    assert values[2] == 1
    assert (values[:2] > 0).all() and (values[:2] < 1e-300).all()


def test_half_lives_of_centuries_and_of_nanoseconds():
    times = np.array(["2020-01-01", "2020-01-02"], "M8[us]")
    assert decay(times, 146_000 * DAY)[0] == pytest.approx(0.5 ** (1 / 146_000), rel=1e-12)
    assert decay(times, datetime.timedelta.max)[0] == pytest.approx(1)
    ticks = np.array([0, 2, 3], "M8[ns]")
    assert decay(ticks, np.timedelta64(1, "ns")).tolist() == [0.125, 0.5, 1]


@pytest.mark.parametrize(
    ("half_life", "error", "sentence"),
    [
        (np.timedelta64(1, "M"), ValueError, "half_life is .*, which has no fixed length; give it in days"),
        (np.timedelta64(1, "Y"), ValueError, "half_life is .*, which has no fixed length"),
        (without_unit(30), ValueError, "half_life is .*, which has no fixed length"),
        (np.timedelta64("NaT", "D"), ValueError, "half_life is .*, which has no fixed length"),
        (-DAY, ValueError, "half_life must be above 0"),
        (np.timedelta64(0, "s"), ValueError, "half_life must be above 0"),
    ],
)
def test_half_lives_without_a_length(half_life, error, sentence):
    with pytest.raises(error, match=sentence):
        decay(np.array(["2020-01-01"], "M8[us]"), half_life)


def test_times_of_python():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    naive, aware = datetime.datetime(2024, 1, 1, 12), datetime.datetime(2024, 1, 1, 12, tzinfo=zone)
    assert as_times("times", [naive, datetime.datetime(9999, 1, 1)]).dtype == "M8[us]"
    assert as_times("times", [aware])[0] == np.datetime64("2024-01-01T10:00")
    assert as_times("times", [datetime.date(1, 1, 1), datetime.date(2024, 1, 1)])[0] == np.datetime64("0001-01-01")
    assert as_times("times", np.array([3, 2.5], object)).tolist() == [3, 2.5]
    with pytest.raises(ValueError, match=r"times\[1\] has a time zone and times\[0\] has none: give all times a zone"):
        as_times("times", [naive, aware])
    with pytest.raises(TypeError, match=r"times\[1\] is None: times must be datetimes or numbers; drop missing ones"):
        as_times("times", [naive, None])
    with pytest.raises(ValueError, match="times holds a number beyond 64 bits"):
        as_times("times", np.array([2**63], np.uint64))


def test_kinds_may_be_strings_integers_or_flags():
    for kinds, weights in (
        (["a", "b"], {"a": 2, "b": 3}),
        ([5, 9], {5: 2, 9: 3}),
        ([False, True], {False: 2, True: 3}),
    ):
        assert event_values(2, events=kinds, weights=weights).values.tolist() == [2, 3]


@pytest.mark.parametrize("missing", [None, float("nan"), np.datetime64("NaT", "s")])
def test_missing_kinds_are_named(missing):
    with pytest.raises(TypeError, match=r"events\[1\] is "):
        event_values(2, events=["view", missing], weights={"view": 1})


def test_a_weight_of_zero_is_the_callers_wish():
    assert event_values(2, events=["a", "b"], weights={"a": 0, "b": 1}).values.tolist() == [0, 1]


def test_times_as_text_are_told_how_they_become_times():
    with pytest.raises(TypeError, match=r"times\[0\] is '2025-01-31': .*; convert them first, as by pandas"):
        as_times("times", np.array(["2025-01-31", "2025-02-01"], object))
