"""Candidates drawn at random."""

import numpy as np
import pytest
from scipy.stats import loguniform

from fastals import ImplicitALS
from fastals.tuning import grid_search, sample_candidates


def test_samples_are_distinct_and_as_many_as_there_are():
    assert sorted(sample["factors"] for sample in sample_candidates({"factors": [1, 2, 3]}, 10, 0)) == [1, 2, 3]
    drawn = [sample["ridge"] for sample in sample_candidates({"ridge": loguniform(0.01, 1)}, 200, 0)]
    assert len(set(drawn)) == 200
    assert all(0.01 <= ridge <= 1 for ridge in drawn)


def test_samples_need_something_to_draw_from():
    with pytest.raises(TypeError, match=r"distributions\['factors'\] must be a sequence of values, .* got 3"):
        sample_candidates({"factors": 3})


@pytest.mark.parametrize("kind", [int, np.random.default_rng, np.random.RandomState, np.random.SeedSequence])
def test_every_random_state_draws(kind):
    space = {"ridge": loguniform(0.01, 1), "factors": [1, 2, 3, 4]}
    assert sample_candidates(space, 5, kind(3)) == sample_candidates(space, 5, kind(3))
    assert sample_candidates(space, 5, kind(3)) != sample_candidates(space, 5, kind(4))
    with pytest.raises(TypeError, match=r"^random_state must be an int"):
        sample_candidates(space, 5, "3")


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        ((x for x in [0.1]), "make a list of its values"),
        ({0.1, 0.2}, "make a list of its values"),
        (0.1, "write [0.1]"),
        ("cg", "write ['cg']"),
        (None, "write [None]"),
    ],
)
def test_values_that_are_no_sequence_are_refused_with_the_way_out(values, remedy):
    with pytest.raises(TypeError) as caught:
        grid_search(ImplicitALS(), {"alpha": values}, (np.eye(3), np.eye(3)))
    assert str(caught.value) == f"grid['alpha'] must be a sequence of values, got {values!r}: {remedy}"
