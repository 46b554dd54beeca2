"""Candidates drawn at random."""

import pytest
from scipy.stats import loguniform

from fastals.tuning import sample_candidates


def test_samples_are_distinct_and_as_many_as_there_are():
    assert sorted(sample["factors"] for sample in sample_candidates({"factors": [1, 2, 3]}, 10, 0)) == [1, 2, 3]
    drawn = [sample["ridge"] for sample in sample_candidates({"ridge": loguniform(0.01, 1)}, 200, 0)]
    assert len(set(drawn)) == 200
    assert all(0.01 <= ridge <= 1 for ridge in drawn)


def test_samples_need_something_to_draw_from():
    with pytest.raises(TypeError, match=r"distributions\['factors'\] must be a sequence of values, .* got 3"):
        sample_candidates({"factors": 3})
