"""How rows are to be solved, and the cost model that chooses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined
from .simd.kernels import FEW

# Ways to solve a row, see `rows`.
CHEAPEST, PRIMAL, DUAL, CG = -1, 0, 1, 2

# Relative residual at which conjugate gradients stop, by item size of the dtype: close to what the dtype resolves.
# Within a fit STEPS from the previous iterate leave 1% of a row's error. ALS then needs as many iterations as with
# exact rows. The last half-step and fold-in start from zero and take 5 to 30 steps. There a row that is expected to
# need more than LAST_STEPS is solved exactly from the start.
TOLERANCE = {4: 1e-5, 8: 1e-14}
STEPS = 3
LAST_STEPS, LAST_EXPECTED = 32, 10


class Bounds(NamedTuple):
    """What rows are compared with to tell whether their dtype holds them, see `rows.precision`; by default it does."""

    limit: float = np.inf  # of the condition
    per_background: float = np.inf  # of the sum of w, by a row's background
    per_ridge: float = np.inf  # of the sum of w, by the smallest number of a row's diagonal
    most: float = 0.0  # largest background of a column
    floor: float = 0.0  # least confidence, before the row's weight
    losses: float = 1.0  # of the sum of w: the share of these bounds up to which a row's loss is trusted


class Plan(NamedTuple):
    """How the rows of one half-step are to be solved."""

    sketch: bool  # do not solve rows: x = `sketch_scale` * r, for a start; the other fields are then ignored
    cholesky: bool  # rows may be solved exactly
    cg: bool  # rows may be solved by conjugate gradients
    warm: bool  # conjugate gradients start from X in rows of more than `steps` entries
    steps: int  # maximum number of steps
    expected: int  # steps that a row is expected to need, unless `expected_steps` is asked
    tolerance: float  # stop when what is left to gain is at most tolerance^2 times the gain so far
    only: int  # PRIMAL, DUAL or CG: solve all rows that way if possible; CHEAPEST: as `choose` says
    finish: bool  # rows that have not converged, or are not expected to, are solved by Cholesky
    beyond: float  # over-relaxation: X becomes solution + beyond * (solution - previous X)
    bounds: Bounds = Bounds()

    @property
    def reads_start(self) -> bool:
        """Whether what X holds counts: as a start, or to go beyond the solution."""
        return self.warm and (self.beyond > 0 or self.cg)


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
    """Return the plan for a half-step within a fit, or for its last one, which is also that of fold-in.

    Without a background `auto` solves all rows by Cholesky, because the preconditioner is the background.
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


# Numbers (entries times factors) of a row that a second-level cache of 2 MiB holds. In rows with more each pass takes
# two to four times as long per number.
CACHED = 400_000

# Predicted nanoseconds for a row of m entries. `bench/cost_model.py` fits the constants: on one core with AVX-512, in
# float32, to within 2 to 7% in the median. Only their ratios matter, and these are alike on other CPUs.


def primal_cost(m, k):
    """Return the cost of the primal way: gathering, Gram matrix, Cholesky factor, substitution."""
    return 330 + 0.45 * k * k + 0.0012 * k * k * k + 0.29 * m * k + 0.0061 * m * k * k


def dual_cost(m, k):
    """Return the cost of the dual way. Its matrix is m x m, with m padded. From m = k on the primal costs less."""
    m = (m + 15) // 16 * 16
    return 400 + 4.8 * k + 0.25 * m * k + 0.4 * m * m + 0.0079 * m * m * k


def few_cost(m, k):
    """Return the cost of a row of at most FEW entries, solved in registers."""
    return 100 + 18 * m + 0.45 * k + 0.06 * m * k


def cg_cost(m, k, steps):
    """Return the cost of conjugate gradients: one pass fetches the entries, and each step reads them."""
    return 250 + 0.1 * m * k + (steps + 1) * (0.32 * k + 1.07 * m + (0.057 + 0.1 * (m * k > CACHED)) * m * k)


def predicted_cost(m: np.ndarray, k: int, plan: Plan) -> np.ndarray:
    """Return the predicted nanoseconds of rows with `m` entries, solved as `choose` says.

    It repeats the rule of `choose` in NumPy, for all lengths of a schedule. A compiled loop over `choose` would make a
    cold first fit longer, and a loop in Python a short fit.
    """
    cost = np.minimum(primal_cost(m, k), dual_cost(m, k))
    if plan.cg:
        inexact = cg_cost(m, k, plan.expected)
        cost = np.minimum(cost, inexact) if plan.cholesky else inexact
    return np.where(m <= FEW, few_cost(m, k), cost)


_primal_cost, _dual_cost, _cg_cost = inlined(primal_cost), inlined(dual_cost), inlined(cg_cost)


@inlined
def choose(
    m,  # in  intp  entries of the row
    k,  # in  intp
    steps,  # in  number  expected steps of conjugate gradients
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
    """Return the cheaper exact way."""
    return DUAL if _dual_cost(m, k) < _primal_cost(m, k) else PRIMAL
