"""Where a fit begins: the range of the data."""

from __future__ import annotations

import numpy as np

from . import basis
from .alternation import Alternation, Begin
from .plan import plan_for
from .problem import BACKGROUND

POWER_STEPS = 2
# Root mean square of the users' factors in a start: large, as then the ridge counts for little when the items are
# solved, but no larger, as it counts for as much in the first reported loss. Loss after the first iteration over
# that of five exact ones, with 1/8, 1/2 and 2: MovieLens 1M, k = 64: 0.951, 0.950, 0.950; k = 512: 0.777, 0.724, 0.719;
# k = 1024: 0.752, 0.533, 0.482.
ENTRY = 0.5


def sketch(alternation: Alternation, rng: np.random.Generator) -> Begin:
    """Overwrite the panels by a start: the range of B, the matrix of all right-hand coefficients b, scaled.

    Y = (E B'D B)^p times random signs, which leans to the leading directions: a randomised range finder with p
    power steps. D and E are diagonal, 1 over what a row's own matrix is about on its diagonal
    (`sketch_scale`), so that a product is a first guess of a half-step and rows of many cells do not drown the
    others. Loss after the first iteration over that of five exact iterations from a normal start, with one step,
    two and three: lastfm, k = 64: 1.046, 1.025, 1.020; MovieLens 1M, k = 64: 0.974, 0.950, 0.985, k = 256: 0.883,
    0.853, 1.335; the generated set, k = 64: 1.015, 1.011, 1.031.

    In the last power step all directions are brought to one length, on the side where it costs less: float32 tells
    no more than two steps' worth of them apart. Without a background in the first, as directions of little data are
    then better left short (a quarter less loss after the first iteration of a weighted model).

    Where there is a background, X = D B Y takes the place of the first half-step of users. After that half-step the
    losses above are 1.010, 0.941, 0.827 and 0.994, and such a fit takes 8 to 26% longer; after four iterations the
    losses are the same to 0.0005, and a fit of 4 to 15 takes 2 to 5% longer. Without a background rows of few cells
    would count like those of many: a third more loss after the first iteration (explicit, lastfm).

    Returns
    -------
    Begin

    References
    ----------
    Halko, Martinsson, Tropp: Finding structure with randomness. SIAM Review 2011, algorithm 4.4.
    """
    model, known = alternation.model, alternation.background["user"]
    n, factors = len(model.Y), model.width - (model.bias >= 0)
    # Signs serve as well as normal numbers, in a thirtieth of the time.
    signs = np.unpackbits(np.frombuffer(rng.bytes(-(-n * factors // 8)), np.uint8), count=n * factors).view(np.int8)
    signs *= 2
    signs -= 1
    model.Y[:, :factors] = signs.reshape(n, factors)
    del signs
    for step in range(POWER_STEPS):
        for side in ("user", "item"):
            _guess(alternation, side, factors)
            _, _, X, Y = alternation.sides(side)
            if step == (POWER_STEPS - 1 if known else 0) and len(X) < len(Y) + (side == "item"):
                basis.whiten(X, factors, alternation.n_threads)
    if not known:
        return Begin("absent")
    _guess(alternation, "user", factors)
    X = model.X
    X *= X.dtype.type(ENTRY * np.sqrt(factors))
    return Begin("guessed")


def _guess(alternation: Alternation, side: str, factors: int) -> None:
    """Take one step of the sketch; its rows have a mean square length of 1."""
    problem, _, X, Y = alternation.sides(side)
    weights = problem.columns[:, BACKGROUND]
    total = weights.sum(dtype=np.float64) * (len(Y) if len(weights) == 1 else 1)
    plan = plan_for(alternation.solver, Y.dtype, False, warm=False, last=False)._replace(sketch=True)
    squares = alternation.solve_rows(side, Y, np.full(Y.shape[1], total / factors, Y.dtype), plan).loss
    # An overflow is left to the rows, which can name the first of them.
    if 0 < squares < np.inf:
        X *= X.dtype.type(np.sqrt(len(X) / squares))
