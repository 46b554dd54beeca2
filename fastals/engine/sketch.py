"""Where a fit begins: a randomised sketch of the range of the data."""

from __future__ import annotations

import numpy as np

from . import basis
from .alternation import Alternation, Begin
from .plan import plan_for
from .problem import BACKGROUND
from .threads import in_parts

POWER_STEPS = 2
# Root mean square of the users' factors. Large, so that the ridge hardly counts when the items are solved: at k = 1024
# the loss after one iteration is 30% lower than with 1/8. No larger, because the users' ridge is part of the first
# reported loss.
ENTRY = 0.5
FEW = 64  # items; with fewer, two factors may get the same random signs, and then remain one
ROWS = 2**16  # that get their random signs at once; a multiple of 8, as a byte has so many


def sketch(alternation: Alternation, rng: np.random.Generator) -> Begin:
    """Overwrite the panels by a start: a sketch of the range of B, the matrix of all right-hand coefficients b.

    Y = (E B'D B)^p S, with random signs S (normal numbers if there are few items) and p power steps, is a
    randomised range finder. D and E are diagonal: each row is divided by an estimate of its system's diagonal
    (`sketch_scale`). So each product is a first guess of a half-step, and long rows do not dominate. The loss after
    the first iteration is up to 4% higher with one power step than with two, and up to half as high again with
    three.

    The columns of one panel are made orthogonal and equally long once, on the side where this costs less: in the last
    power step, because float32 cannot tell the directions apart after more steps than two. Without a background it is
    done in the first step. Directions with little data then stay short, which lowers the loss after the first iteration
    of a weighted model by a quarter.

    With a background the users start from X = D B Y, in place of their first half-step. This makes a fit of 4 to 15
    iterations 2 to 5% faster, with the same loss. Without a background the users stay absent: short rows would count as
    much as long ones, and the loss after the first iteration would be a third higher.

    Parameters
    ----------
    alternation : Alternation
        The fit to come, whose panels are overwritten.
    rng : numpy.random.Generator
        Source of S.

    Returns
    -------
    Begin
        Guessed users with a background, else absent ones.

    References
    ----------
    Halko, Martinsson, Tropp: Finding structure with randomness. SIAM Review 2011, algorithm 4.4.
    """
    model, known = alternation.model, alternation.background["user"]
    factors = model.width - (model.bias >= 0)
    _randomise(model.Y[:, :factors], rng)
    for step in range(POWER_STEPS):
        for side in ("user", "item"):
            _guess(alternation, side, factors)
            _, _, X, Y = alternation.sides(side)
            if step == (POWER_STEPS - 1 if known else 0) and len(X) < len(Y) + (side == "item"):
                basis.whiten(X, factors, alternation.n_threads)
    if not known:
        return Begin("absent")
    _guess(alternation, "user", factors)
    _scale(model.X, ENTRY * np.sqrt(factors), alternation.n_threads)
    return Begin("guessed")


def _randomise(panel: np.ndarray, rng: np.random.Generator) -> None:
    """Overwrite a panel by random numbers with mean 0 and variance 1."""
    n, factors = panel.shape
    if n < FEW:
        panel[...] = rng.standard_normal((n, factors))
        return
    # Signs work as well as normal numbers, and are made in a thirtieth of the time.
    bits = np.frombuffer(rng.bytes(-(-n * factors // 8)), np.uint8)
    for begin in range(0, n, ROWS):
        rows = panel[begin : begin + ROWS]
        signs = np.unpackbits(bits[begin * factors // 8 :], count=rows.size).view(np.int8)
        signs *= 2
        signs -= 1
        rows[...] = signs.reshape(rows.shape)


def _guess(alternation: Alternation, side: str, factors: int) -> None:
    """Overwrite one side by a product of the sketch, scaled so that the mean square length of its rows is 1."""
    problem, _, X, Y = alternation.sides(side)
    weights = problem.columns[:, BACKGROUND]
    total = weights.sum(dtype=np.float64) * (len(Y) if len(weights) == 1 else 1)
    plan = plan_for(alternation.solver, Y.dtype, False, warm=False, last=False)._replace(sketch=True)
    squares = alternation.solve_rows(side, Y, np.full(Y.shape[1], total / factors, Y.dtype), plan).loss
    # After an overflow the half-steps name the first row that fails.
    if 0 < squares < np.inf:
        _scale(X, np.sqrt(len(X) / squares), alternation.n_threads)


def _scale(panel: np.ndarray, factor: float, n_threads: int) -> None:
    """Multiply a panel by a number."""
    number = panel.dtype.type(factor)
    in_parts(lambda rows: np.multiply(panel[rows], number, out=panel[rows]), *panel.shape, n_threads)
