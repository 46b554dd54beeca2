"""What an event counts: values, kinds and times."""

import datetime

import numpy as np
import pytest

from fastals.data.events import decay, event_values


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
