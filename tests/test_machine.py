"""One small fit of each model: what `tests/on_arm.sh` runs, beside the kernels' tests, on an emulated processor."""

import numpy as np
import pytest

from tests.helpers import CASES, assert_rows_close, example, half_step, stored


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["implicit", "explicit", "weighted"])
def test_the_fitted_users_are_exact_for_the_items(name, dtype):
    case, R = CASES[name], example(3)
    model, reference, _ = case.build(R, dtype=dtype, factors=4, solver="cholesky", iterations=3)
    model.fit(stored(R, dtype))
    items, users = (
        np.column_stack([factors, biases]) if name == "explicit" else factors
        for factors, biases in (
            (model.item_factors_, getattr(model, "item_biases_", None)),
            (model.user_factors_, getattr(model, "user_biases_", None)),
        )
    )
    wanted, bounds, _ = half_step(reference, R, items.astype(np.float64), "user", dtype)
    assert_rows_close(users, wanted, bounds)
    assert model.loss_history_[-1] < model.loss_history_[0]
