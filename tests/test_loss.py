"""Ridge and objective in float64."""

import numpy as np

import fastals
from fastals.engine import loss
from tests.helpers import example, stored


def test_ridge_is_its_formula():
    cells = fastals.Interactions(stored(example()), "float64")
    objective = fastals.ImplicitALS(regularization=(0.3, 0.7), regularization_exponent=0.5)._objective()
    problem = objective.user_problem(cells.by_user, objective.learn(cells))
    X = np.random.default_rng(0).standard_normal((cells.shape[0], 8))
    wanted = problem.rows[:, 2] @ (X**2).sum(axis=1)
    assert abs(loss.ridge(problem, X) - wanted) <= X.size * np.finfo(float).eps * wanted


def test_loss_has_the_same_bits_for_any_number_of_threads():
    R = stored(example(2, (600, 80), 0.2))
    model = fastals.ImplicitALS(factors=12, iterations=1, random_state=0).fit(R)
    losses = {model.set_params(n_threads=n).loss(R) for n in (1, 2, 5)}
    assert len(losses) == 1
