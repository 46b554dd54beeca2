"""The cost model and the choice that follows from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import plan as plans
from fastals.engine.jit import kernel
from fastals.engine.simd.kernels import FEW
from tests.helpers import plan


@kernel
def choose(m, k, steps, plan):
    return plans.choose(m, k, steps, plan)


@pytest.mark.parametrize(
    ("m", "k", "steps", "way"),
    [
        (100, 256, 5.0, plans.CG),
        (100, 256, 25.0, plans.DUAL),
        (1000, 256, 20.0, plans.CG),
        (2000, 256, 20.0, plans.PRIMAL),  # more than the cache holds
        (300, 512, 32.0, plans.CG),
        (300, 512, 32.5, plans.DUAL),  # may not get there
    ],
)
def test_the_way_follows_from_the_steps_that_are_expected(m, k, steps, way):
    assert choose(m, k, steps, plan("cheapest", np.float32)) == way


@given(m=st.integers(1, 5000), k=st.sampled_from([16, 64, 256]), cg=st.booleans())
def test_predicted_cost_is_that_of_the_cheapest_way(m, k, cg):
    chosen = plan("cheapest", np.float32, cg=cg)
    costs = {plans.PRIMAL: plans.primal_cost(m, k)}
    if m < k:
        costs[plans.DUAL] = plans.dual_cost(m, k)
    if m <= FEW:
        costs = {plans.CHEAPEST: plans.few_cost(m, k)}
    elif cg:
        costs[plans.CG] = plans.cg_cost(m, k, chosen.expected)
    assert plans.predicted_cost(np.array([m]), k, chosen)[0] == min(costs.values())
