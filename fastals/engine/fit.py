"""The loop: half-step items, half-step users. Sequence only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from . import basis, sweep
from .loss import cells_and_background, ridge
from .problem import BACKGROUND, OFFSET, RIDGE, RowProblem
from .rows import CHEAPEST, Plan

# Conjugate gradients near what the dtype resolves, by size of its items. Within a fit 3 steps from the previous iterate
# leave 1.2% of a row's error (MovieLens 1M, k = 128), and ALS then needs as many iterations as with exact rows. In the
# last half-step and in fold-in, from zero, it takes 5 to 30; rows that are expected to need more than LAST_STEPS are
# exact from the start.
TOLERANCE = {4: 1e-5, 8: 1e-14}
STEPS = 3
LAST_STEPS, LAST_EXPECTED = 32, 10
POWER_STEPS = 2
# Root mean square of the users' factors in a start: large, as then the ridge counts for little when the items are
# solved, but no larger, as it counts for as much in the first reported loss. Loss after the first iteration over
# that of five exact ones, with 1/8, 1/2 and 2: MovieLens 1M, k = 64: 0.951, 0.950, 0.950; k = 512: 0.777, 0.724, 0.719;
# k = 1024: 0.752, 0.533, 0.482.
ENTRY = 0.5
# How far half-steps go beyond their solution at most. Loss over that without, after 2, 4, 8 and 30 iterations: lastfm,
# k = 128: 0.995, 0.990, 0.992, 0.998; MovieLens 1M, k = 64: 0.996, 0.995, 0.997, 0.9994. Bounds of 0.5 to 1 differ by
# 0.0009 at most; what a fit settles to is the same.
BEYOND = 0.7


class Model(NamedTuple):
    """Both sides of a factorisation: the row problems and the panels that a fit improves in place."""

    users: RowProblem
    items: RowProblem
    X: np.ndarray  # T (n_users, kp)
    Y: np.ndarray  # T (n_items, kp)
    width: int  # columns in use: factors, then the bias where there is one
    bias: int  # column of the bias, -1 without


class Failure(NamedTuple):
    """A row that could not be solved."""

    side: str  # "user" or "item"
    row: int
    status: int


def first_failure(side: str, status: np.ndarray) -> Failure | None:
    """Return the first row of a half-step that could not be solved."""
    failed = np.flatnonzero(status)
    return Failure(side, int(failed[0]), int(status[failed[0]])) if len(failed) else None


class Alternation:
    """The half-steps of one fit, and what one leaves for the next."""

    def __init__(self, model: Model, solver: str, n_threads: int) -> None:
        self.model, self.solver, self.n_threads = model, solver, n_threads
        self._schedules: dict[str, sweep.Schedule] = {}
        self._background = {side: bool(self._sides(side)[0].columns[:, BACKGROUND].any()) for side in ("user", "item")}
        # Ridge Gram matrices of the sides whose panel has only been rotated since they were computed.
        self._ridges: dict[str, np.ndarray] = {}

    def sketch(self, rng: np.random.Generator) -> bool:
        """Overwrite the panels by a start: the range of B, the matrix of all right-hand coefficients b, scaled.

        Y = (E B'D B)^p times random signs, which leans to the leading directions: a randomised range finder with p
        power steps. D and E are diagonal, 1 over what a row's own matrix is about on its diagonal
        (`rows.sketch_scale`), so that a product is a first guess of a half-step and rows of many cells do not drown the
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
        bool
            Whether `model.X` is part of the start.

        References
        ----------
        Halko, Martinsson, Tropp: Finding structure with randomness. SIAM Review 2011, algorithm 4.4.
        """
        n, factors = len(self.model.Y), self.model.width - (self.model.bias >= 0)
        # Signs serve as well as normal numbers, in a thirtieth of the time.
        signs = np.unpackbits(np.frombuffer(rng.bytes(-(-n * factors // 8)), np.uint8), count=n * factors).view(np.int8)
        signs *= 2
        signs -= 1
        self.model.Y[:, :factors] = signs.reshape(n, factors)
        del signs
        known = self._background["user"]
        for step in range(POWER_STEPS):
            for side in ("user", "item"):
                self._guess(side, factors)
                _, _, X, Y = self._sides(side)
                if step == (POWER_STEPS - 1 if known else 0) and len(X) < len(Y) + (side == "item"):
                    basis.whiten(X, factors, self.n_threads)
        if known:
            self._guess("user", factors)
            X = self.model.X
            X *= X.dtype.type(ENTRY * np.sqrt(factors))
        return known

    def _guess(self, side: str, factors: int) -> None:
        """Take one step of the sketch; its rows have a mean square length of 1."""
        problem, _, X, Y = self._sides(side)
        weights = problem.columns[:, BACKGROUND]
        total = weights.sum(dtype=np.float64) * (len(Y) if len(weights) == 1 else 1)
        plan = plan_for(self.solver, Y.dtype, False, warm=False, last=False)._replace(sketch=True)
        squares = self._sweep(side, Y, np.full(Y.shape[1], total / factors, Y.dtype), plan).loss
        # An overflow is left to the rows, which can name the first of them.
        if 0 < squares < np.inf:
            X *= X.dtype.type(np.sqrt(len(X) / squares))

    def fit(
        self, iterations: int, after: Callable[[int, float], bool], *, done: int = 0, known: bool = False
    ) -> Failure | None:
        """Alternate from the start in the panels; on return the users are exact for the items.

        Parameters
        ----------
        iterations : int
            Half-steps of items and of users.
        after : callable (iteration, loss) -> bool
            Called when an iteration is done, with the objective then; True ends the fit.
        done : int, default 0
            Iterations that the start comes from; if any, `model.X` is part of it.
        known : bool, default False
            The users are there already, exact as a fit leaves them or rough as `sketch` does. Else their half-step
            comes first.

        Returns
        -------
        Failure or None
            The first row that could not be solved; the panels are then of no use.
        """
        guessed = known and done == 0
        for iteration in range(iterations):
            age = done + iteration
            if iteration > 0 or not known:
                # Where they were guessed, the users' first half-step is that of the second iteration.
                failure, _ = self._half_step("user", self._inner_plan("user", age - guessed), balance=age > 0)
                if failure:
                    return failure
            balance = age > 0 or not known
            failure, items_loss = self._half_step("item", self._inner_plan("item", age), balance=balance)
            if failure:
                return failure
            if iteration == iterations - 1:
                break
            if after(iteration, items_loss):
                iterations = iteration + 1
                break
        failure, users_loss = self._half_step("user", self._plan("user", last=True), balance=iterations > 0)
        if failure:
            return failure
        if iterations:
            after(iterations - 1, users_loss)
        return None

    def _inner_plan(self, side: str, age: int) -> Plan:
        """Return the plan of a half-step of a side that has had `age` before.

        The first starts from 0. The others go beyond their solution more and more, as in Nesterov's method.
        """
        return self._plan(side, warm=age > 0, beyond=min(BEYOND, (age + 1) / (age + 4)) if age else 0)

    def _plan(self, side: str, *, warm: bool = False, last: bool = False, beyond: float = 0) -> Plan:
        return plan_for(self.solver, self.model.Y.dtype, self._background[side], warm=warm, last=last, beyond=beyond)

    def _half_step(self, side: str, plan: Plan, *, balance: bool = True) -> tuple[Failure | None, float]:
        """Solve one side; return the first failure, and the objective after it where an iteration ends."""
        problem, other, _, Y = self._sides(side)
        with biases_as_offsets(problem, Y, self.model.bias):
            if self._background[side]:
                g = self._to_eigenbasis(side, balance, plan.warm and (plan.beyond > 0 or plan.cg))
            if plan.finish or not self._background[side]:
                g = self._fix(Y, problem.columns[:, BACKGROUND])
            outcome = self._sweep(side, Y, g, plan)
        failure = first_failure(side, outcome.status)
        reported = side == "item" or plan.finish  # the ridge of the items takes 1% of an iteration on short rows
        return failure, outcome.loss + ridge(other, Y) if reported and not failure else 0.0

    def _fix(self, Y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the eigenvalues of the background of Y, rotated again where a rotation has not made it diagonal.

        Of panels that span 4 orders of magnitude float32 leaves twice the off-diagonal that counts as none; what a
        third rotation leaves is taken for rounding.
        """
        for _ in range(3):
            fixed = basis.fix(Y, weights, self.model.width, self.n_threads)
            if fixed.rotation is None:
                break
            Y[...] = fixed.panel
        return fixed.g

    def _sides(self, side: str) -> tuple[RowProblem, RowProblem, np.ndarray, np.ndarray]:
        """Return the rows' problem and the columns', the rows' panel and the columns'."""
        model = self.model
        if side == "user":
            return model.users, model.items, model.X, model.Y
        return model.items, model.users, model.Y, model.X

    def _sweep(self, side: str, Y: np.ndarray, g: np.ndarray, plan: Plan) -> sweep.Outcome:
        problem, _, X, _ = self._sides(side)
        if side not in self._schedules:
            typical = self._plan(side, warm=True)
            self._schedules[side] = sweep.make_schedule(problem.cells.counts, Y, typical, self.n_threads)
        return sweep.half_step(problem, Y, g, self.model.width, X, plan, self.n_threads, self._schedules[side])

    def _to_eigenbasis(self, side: str, balance: bool, needed: bool) -> np.ndarray:
        """Balance both panels, rotate them to where the background of Y is diagonal, and return it.

        X is rotated where its rows are needed, as starts or to go beyond; for the balance its Gram matrix will do.
        Gram matrices took a quarter of a fit on short rows (lastfm, k = 128), so those that are known are kept: with
        one ridge and one background for all, a half-step needs that of the panel solved last, and no other.
        """
        problem, other, X, Y = self._sides(side)
        width, n_threads = self.model.width, self.n_threads
        background = basis.gram(Y, problem.columns[:, BACKGROUND], width, n_threads)
        ridge_x = self._ridges.pop(side, None)
        alike = _ratio(other.rows[:, RIDGE], problem.columns[:, BACKGROUND])
        ours = theirs = None
        if balance:
            if ridge_x is None:
                ridge_x = basis.gram(X, problem.rows[:, RIDGE], width, n_threads)
            ridge_y = basis.gram(Y, other.rows[:, RIDGE], width, n_threads) if alike is None else alike * background
            if 0 < ridge_x.trace() < np.inf and 0 < ridge_y.trace() < np.inf:
                ours, theirs, balanced = basis.balance(ridge_x, ridge_y)
                background = basis.turned(background, theirs) if alike is None else balanced / alike
        g, rotation = basis.diagonalise(background, Y.dtype)
        basis.rotate(Y, basis.composed(theirs, rotation), n_threads)
        if needed:
            basis.rotate(X, basis.composed(ours, rotation), n_threads)
        if alike is not None:
            self._ridges["item" if side == "user" else "user"] = np.diag(alike * g)
        return basis.pad(g, Y)


def _ratio(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return x / y where each is one number throughout, None elsewhere."""
    return float(x[0]) / float(y[0]) if (x == x[0]).all() and (y == y[0]).all() else None


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


def fold_in(
    problem: RowProblem, fixed: basis.Fixed, width: int, solver: str, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solve new rows for a fixed side: the half-step, and nothing else.

    Returns
    -------
    X : ndarray, shape (n_rows, kp)
        In the basis of the factors that were fixed, before their rotation.
    status : ndarray of int8, shape (n_rows,)
    """
    X = np.zeros((problem.cells.n_rows, fixed.panel.shape[1]), fixed.panel.dtype)
    plan = plan_for(solver, X.dtype, bool(fixed.g.any()), warm=False, last=True)
    outcome = sweep.half_step(problem, fixed.panel, fixed.g, width, X, plan, n_threads)
    if fixed.rotation is not None:
        basis.rotate(X, fixed.rotation.T, n_threads)
    return X, outcome.status


def loss(model: Model, n_threads: int) -> float:
    """Return the objective of the panels as they are."""
    total = ridge(model.users, model.X) + ridge(model.items, model.Y)
    with biases_as_offsets(model.users, model.Y, model.bias):
        total += cells_and_background(model.users, model.X, model.Y, model.width, n_threads)
    return total


@contextmanager
def biases_as_offsets(problem: RowProblem, Y: np.ndarray, bias: int) -> Iterator[None]:
    """Inside, the biases of the fixed side are offsets of the target, and their column is 1.

    So the rows' own biases are one more unknown of the same system.
    """
    if bias < 0:
        yield
        return
    problem.columns[:, OFFSET] = Y[:, bias]
    Y[:, bias] = 1
    try:
        yield
    finally:
        Y[:, bias] = problem.columns[:, OFFSET]
