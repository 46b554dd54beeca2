"""The bootstrap interval."""

import numpy as np
import pytest

from fastals.evaluation import (
    Evaluation,
    bootstrap_interval,
)


def test_the_interval_holds_the_average_and_narrows_with_the_root_of_n():
    rng = np.random.default_rng(0)
    values = rng.random(400)
    low, high = bootstrap_interval(np.append(values, np.nan), n_resamples=2000)
    # 95% of a normal: 1.96 standard errors each way; the quantiles of 2000 resamples are good to about 5%.
    error = values.std() / 20
    np.testing.assert_allclose([low, high], values.mean() + error * np.array([-1.96, 1.96]), atol=0.2 * error)
    assert bootstrap_interval(values, n_resamples=2000) == bootstrap_interval(values, n_resamples=2000)
    evaluation = Evaluation(np.arange(400), {"ndcg@10": values}, {"ndcg@10": values.mean()})
    assert evaluation.interval("ndcg@10", n_resamples=2000) == (low, high)
    with pytest.raises(ValueError, match="name is 'recall@10', which has no value per user: choose from ndcg@10"):
        evaluation.interval("recall@10")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [np.nan]}, "values has no number"),
        ({"values": [1.0], "level": 1.0}, "level must lie between 0 and 1, got 1.0"),
        ({"values": [1.0], "n_resamples": 0}, "n_resamples must be at least 1"),
    ],
)
def test_the_interval_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**arguments)
