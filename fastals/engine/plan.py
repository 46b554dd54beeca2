"""How rows are to be solved, and the cost model that chooses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined
from .simd.kernels import FEW

CHEAPEST, PRIMAL, DUAL, CG = -1, 0, 1, 2

# Conjugate gradients near what the dtype resolves, by size of its items. Within a fit 3 steps from the previous iterate
# leave 1.2% of a row's error (MovieLens 1M, k = 128), and ALS then needs as many iterations as with exact rows. In the
# last half-step and in fold-in, from zero, it takes 5 to 30; rows that are expected to need more than LAST_STEPS are
# exact from the start.
TOLERANCE = {4: 1e-5, 8: 1e-14}
STEPS = 3
LAST_STEPS, LAST_EXPECTED = 32, 10


class Plan(NamedTuple):
    """How the rows of one half-step are to be solved."""

    sketch: bool  # rows are not solved: x = `sketch_scale` r, as a start wants it; nothing below counts
    cholesky: bool  # a row may be solved exactly
    cg: bool  # a row may be solved by conjugate gradients
    warm: bool  # where rows of more than `steps` cells start from what X holds
    steps: int  # and take at most so many steps
    expected: int  # of which a row is expected to need so many, where `expected_steps` does not tell
    tolerance: float  # fewer where what is left to gain is at most its square times the gain so far
    only: int  # PRIMAL, DUAL or CG for all rows, where they can be solved so; CHEAPEST: as `choose` says
    finish: bool  # a row that has not got there by then is solved by Cholesky, as is one that is not expected to
    beyond: float  # how far X goes: to solution + beyond * (solution - what X held before)


def plan_for(
    solver: str,
    dtype: np.dtype,
    background: bool,
    *,
    warm: bool,
    last: bool,
    beyond: float = 0,
    steps: int = STEPS,
) -> Plan:
    """Return how rows are solved in a half-step of a fit, or in its last one, which is what fold-in does.

    Without a background `auto` is Cholesky throughout: the preconditioner is the background.
    """
    real = dtype.type
    return Plan(
        sketch=False,
        cholesky=solver != "cg",
        cg=solver == "cg" or (solver == "auto" and background),
        warm=warm,
        steps=LAST_STEPS if last else steps,
        expected=LAST_EXPECTED if last else steps,
        tolerance=real(TOLERANCE[dtype.itemsize]),
        only=CHEAPEST,
        finish=last,
        beyond=real(beyond),
    )


# Numbers of a row's cells that a second-level cache of 2 MiB holds beside the rest. Where there are more, each takes
# two to four times as long in every pass (k = 64, 128 and 256 alike; measured apart from what follows).
CACHED = 400_000


def primal_cost(m, k):
    """Primal: gather and Gram matrix, factor, substitution."""
    return 330 + 0.45 * k * k + 0.0012 * k * k * k + 0.29 * m * k + 0.0061 * m * k * k


def dual_cost(m, k):
    """Dual: the matrix is m x m, its panel k rows long, both padded."""
    m = (m + 15) // 16 * 16
    return 400 + 4.8 * k + 0.25 * m * k + 0.4 * m * m + 0.0079 * m * m * k


def few_cost(m, k):
    """Few: a row of at most FEW cells, in registers."""
    return 100 + 18 * m + 0.45 * k + 0.06 * m * k


def cg_cost(m, k, steps):
    """Conjugate gradients: the first pass over the cells fetches them, each pass reads them."""
    return 250 + 0.1 * m * k + (steps + 1) * (0.32 * k + 1.07 * m + (0.057 + 0.1 * (m * k > CACHED)) * m * k)


def predicted_cost(m: np.ndarray, k: int, plan: Plan) -> np.ndarray:
    """Return the predicted nanoseconds of rows with `m` cells: what `choose` chooses by."""
    cost = np.minimum(primal_cost(m, k), dual_cost(m, k))
    if plan.cg:
        inexact = cg_cost(m, k, plan.expected)
        cost = np.minimum(cost, inexact) if plan.cholesky else inexact
    return np.where(m <= FEW, few_cost(m, k), cost)


_primal_cost, _dual_cost, _cg_cost = inlined(primal_cost), inlined(dual_cost), inlined(cg_cost)


@inlined
def choose(
    m,  # in  intp  cells of the row
    k,  # in  intp
    steps,  # in  number  of conjugate gradients, as expected
    plan,  # in  Plan
):  # -> PRIMAL, DUAL or CG
    """Return the cheapest way that the plan allows."""
    if plan.only != CHEAPEST:
        return plan.only
    way = cheaper_exactly(m, k)
    exact = _dual_cost(m, k) if way == DUAL else _primal_cost(m, k)
    if plan.cg and (not plan.cholesky or (steps <= plan.steps and _cg_cost(m, k, steps) < exact)):
        way = CG
    return way


@inlined
def cheaper_exactly(m, k):  # -> PRIMAL or DUAL
    """Return the cheaper exact way. It is the dual for some m < k alone."""
    return DUAL if _dual_cost(m, k) < _primal_cost(m, k) else PRIMAL
