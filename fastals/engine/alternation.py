"""The loop of a fit: solve the items for the users, then the users for the items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from . import basis, sweep
from .basis import LOWER, UPPER
from .blas import PASS, in_blocks
from .leveling import level
from .loss import cells_and_background, ridge, squares
from .model import Model
from .panel import aligned_copy, aligned_like
from .plan import Plan, plan_for
from .problem import (
    BACKGROUND,
    OK,
    PRIOR,
    RIDGE,
    WEIGHT,
    Cells,
    Failure,
    Outcome,
    RowProblem,
    Unusual,
    drawn_to,
    first_failure,
)
from .shifts import biases_as_offsets, on_panel
from .whitening import Whitening, whitening

# How far half-steps go beyond their solution at most, as a share of the step. The loss after 4 iterations is 0.5 to 1%
# lower than without. Bounds of 0.5 to 1 differ by less than 0.1%, and a fit converges to the same loss.
BEYOND = 0.7

# Factors from which half-steps take `whitening`. With fewer, eigenvectors cost less than one more rotation of a panel.
WHITENED = 256
# Iterations that balance the sides, from the start of a fit; the second number is for `WHITENED` factors and more.
# Sides that are balanced once stay so nearly, and from then on balance only disturbs the steps beyond solutions. With
# two iterations instead of three the third one ends with a loss that is 2e-4 higher at 64 factors (MovieLens 1M and
# Last.fm), and lower at many: by 2e-4 at 256 (MovieLens 1M), by 1e-2 at 512 (Last.fm). The eighth is equal within 2e-5.
FIRST, FIRST_OF_MANY = 3, 2
# Where rows differ, they take `whitening` up to so many rows of both panels for each factor. With more, passes over the
# rows cost more than eigenvectors. On two threads a fit of MovieLens 1M takes 1.05 times as long at 256 factors, which
# is 38 rows for each, 0.96 times at 400 and 0.90 times at 512.
FEW = 28

OTHER = {"user": "item", "item": "user"}

# Returns what solves the rows of a side: (cells, Y, typical plan, n_threads).
Where = Callable[[Cells, np.ndarray, Plan, int], sweep.Solve]


class Reached(NamedTuple):
    """A complete iteration within a fit: with both panels, all that the next half-steps need."""

    iteration: int
    """Its number, counted from 0."""
    loss: float
    """The objective after its half-step of the items."""
    ridges: Mapping[str, np.ndarray]
    """Gram matrices that the next half-step need not compute: float64 (width, width), by side."""


class Begin(NamedTuple):
    """Where a fit begins: what the panels hold."""

    users: Literal["absent", "guessed", "solved"]
    """What `model.X` holds: nothing of use; rough factors from `sketch`; the exact solution for the items."""
    done: int = 0
    """Iterations that led to the panels. If there are any, `model.X` is a start even where the users are absent."""
    reached: Reached | None = None
    """Where a fit that began so was interrupted, if it was: the panels are then those after this iteration."""


class _Ridges(NamedTuple):
    """What the ridges of a side's rows are beside their backgrounds."""

    c: np.ndarray
    """float64: backgrounds."""
    r: np.ndarray
    """float64: ridges."""
    there: np.ndarray
    """bool: rows with entries."""
    least: float
    most: float
    """The least and the largest r / c of these."""


class Alternation:
    """The half-steps of one fit, and what they share.

    Parameters
    ----------
    model : Model
        Its panels are overwritten.
    solver : str
    n_threads : int
    where : callable, optional
        Where rows are solved: called once a side, as `sweep.solver_here`.
    """

    def __init__(self, model: Model, solver: str, n_threads: int, where: Where = sweep.solver_here) -> None:
        self.model, self.solver, self.n_threads = model, solver, n_threads
        self._where = where
        self._solve: dict[str, sweep.Solve] = {}
        self._spare: dict[str, np.ndarray] = {}  # memory, from one half-step to the next
        self.unusual = {"user": Unusual(), "item": Unusual()}  # of the latest half-steps
        self.background = {side: bool(self.sides(side)[0].columns[:, BACKGROUND].any()) for side in ("user", "item")}
        # By side: how many times the background of its columns their ridge is, if that is one number.
        self._ratios = {
            side: _ratio(self.sides(OTHER[side])[0].rows[:, RIDGE], self.sides(side)[0].columns[:, BACKGROUND])
            for side in OTHER
        }
        # By side, if the panel has only been rotated since: its Gram matrix, weighted by the ridge. With features it is
        # that of the panel less its prior means, see `features.Learned`.
        self._ridges: dict[str, np.ndarray] = {}

    def fit(
        self,
        begin: Begin,
        iterations: int,
        after: Callable[[int, float], bool],
        keep: Callable[[Reached], None] | None = None,
    ) -> Failure | None:
        """Alternate from the start in the panels. The last half-step solves the users exactly for the items.

        Parameters
        ----------
        begin : Begin
            What the panels hold. If the users are absent, their half-step comes first.
        iterations : int
            Number of iterations; one solves all items, then all users.
        after : callable (iteration, loss) -> bool
            Called after each iteration with the objective; True ends the fit.
        keep : callable (Reached), optional
            Called after each iteration, before `after` and before the last half-step. A fit that begins with what it
            was called with, and with the panels as they were then, goes on to the same bits.

        Returns
        -------
        Failure or None
            The first row that could not be solved. The panels are then undefined.
        """
        reached = begin.reached
        if reached is not None:
            self._ridges = dict(reached.ridges)
        else:
            self._learn_from_start(begin)
        for iteration in range(0 if reached is None else reached.iteration, iterations):
            if reached is None or iteration > reached.iteration:
                failure, items_loss = self._both_sides(begin, iteration)
                if failure:
                    return failure
                if keep is not None:
                    keep(Reached(iteration, items_loss, dict(self._ridges)))
            else:
                items_loss = reached.loss
            if iteration == iterations - 1:
                break
            if after(iteration, items_loss):
                iterations = iteration + 1
                break
        failure, users_loss = self._half_step("user", self._plan("user", last=True), early=iterations > 0)
        if failure:
            return failure
        if iterations:
            after(iterations - 1, users_loss)
        return None

    def _both_sides(self, begin: Begin, iteration: int) -> tuple[Failure | None, float]:
        """Solve the users, where there is something to solve them for, then the items. Return as `_half_step`."""
        known, guessed = begin.users != "absent", begin.users == "guessed"
        age = begin.done + iteration
        first = age < (FIRST if self.model.width < WHITENED else FIRST_OF_MANY)
        if iteration > 0 or not known:
            # Guessed users have had no half-step before that of the second iteration, but are a start.
            plan = self._inner_plan("user", age - guessed, guessed)
            failure, _ = self._half_step("user", plan, early=age > 0 and first)
            if failure:
                return failure, 0.0
        return self._half_step("item", self._inner_plan("item", age), early=(age > 0 or not known) and first)

    def _inner_plan(self, side: str, age: int, guessed: bool = False) -> Plan:
        """Return the plan for a half-step of a side that has had `age` half-steps before, or has been `guessed`.

        The first one starts from 0, or from the guess: the loss that was told counts it, so from 0 it might rise. The
        later ones go further and further beyond their solution, as in Nesterov's method.
        """
        return self._plan(side, warm=age > 0 or guessed, beyond=min(BEYOND, (age + 1) / (age + 4)) if age else 0)

    def _plan(self, side: str, *, warm: bool = False, last: bool = False, beyond: float = 0) -> Plan:
        return plan_for(self.solver, self.model.Y.dtype, self.background[side], warm=warm, last=last, beyond=beyond)

    def _half_step(self, side: str, plan: Plan, *, early: bool) -> tuple[Failure | None, float]:
        """Solve one side. Return the first failure, and the objective if an iteration ends here, else 0.

        Only `early` half-steps balance the sides, and level biases.
        """
        problem, columns, X, Y = self.sides(side)
        reported = side == "item" or plan.finish  # else losses would be computed for nothing
        # Once is nearly enough: more than twice does not show in the losses. Nor is it done once features have learned:
        # to `level` the ridge lies on whole rows, not on what features leave of them.
        drawn = any(prior.factors.any() for prior in self.model.priors.values())
        if early and self.model.bias >= 0 and not drawn:
            level(problem, columns, X, Y, self.model.bias, self.n_threads)
        with biases_as_offsets(problem, Y, self.model.bias):
            # Where balance takes an eigenproblem of its own, once an iteration is enough. The loss after the second one
            # is then up to 2e-3 higher (32 factors) or 3e-2 lower (512); the sixth is equal within 3e-5.
            alone = self.model.bias >= 0 or self._alike(side) is None
            balance = early and (not alone or (side == "user" and not plan.finish))
            outcome, ridges = None, self._whitenable(side, plan)
            if ridges is not None:
                if balance and alone:
                    self._balance_factors(side, plan.reads_start)
                    balance = False
                if not balance:
                    outcome = self._solve_whitened(side, plan, ridges, reported)
            if outcome is None:
                outcome = self._solve_in_eigenbasis(side, plan, balance)
        failure, self.unusual[side] = first_failure(side, outcome.status), outcome.unusual
        if failure:
            return failure, 0.0
        loss, prior = outcome.loss, self.model.priors.get(side)
        if prior is not None:
            loss += prior.penalty
            if not plan.finish:  # else what is stored would not be what fold-in finds for this A
                loss -= self._learn(side)
        # Rounding may take a loss of about 0 below it.
        return None, max(0.0, loss) + self._ridge(OTHER[side]) if reported else 0.0

    def _learn_from_start(self, begin: Begin) -> None:
        """Learn what the features say of the rows that a fit begins with."""
        for side in self.model.priors:
            if begin.done or (side == "user" and begin.users == "guessed"):
                self._learn(side)

    def _learn(self, side: str) -> float:
        """Learn what the features say of the rows of a side; return by how much the objective falls."""
        _, _, X, _ = self.sides(side)
        learned = self.model.priors[side].learn(X)
        if learned.gram is not None:
            self._ridges[side] = learned.gram
        return learned.fall

    def _ridge(self, side: str) -> float:
        """Return the ridge term of a side, with that of its features."""
        problem, _, X, _ = self.sides(side)
        if side in self.model.priors and side in self._ridges:
            return float(self._ridges[side].trace())
        return ridge(problem, X, self.n_threads)

    def _fix(self, side: str, Y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the eigenvalues of the background of Y; rotate Y until the background is diagonal.

        One rotation is not always enough: in float32 a panel whose columns span several orders of magnitude keeps an
        off-diagonal beyond the limit of `basis.diagonalise`. What a third rotation leaves counts as rounding.
        """
        for _ in range(3):
            fixed = basis.fix(Y, weights, self.model.width, self.n_threads)
            if fixed.rotation is None:
                break
            Y[...] = fixed.panel
            self._turn(side, fixed.rotation)
            self._turn(OTHER[side], fixed.rotation)
        return fixed.g

    def sides(self, side: str) -> tuple[RowProblem, RowProblem, np.ndarray, np.ndarray]:
        """Return the problems of a side's rows and of its columns, then the panels of both."""
        model = self.model
        if side == "user":
            return model.users, model.items, model.X, model.Y
        return model.items, model.users, model.Y, model.X

    def solve_rows(
        self,
        side: str,
        Y: np.ndarray,
        g: np.ndarray,
        plan: Plan,
        *,
        mend: bool = True,
        rotation: np.ndarray | None = None,
        problem: RowProblem | None = None,
        X: np.ndarray | None = None,
    ) -> Outcome:
        """Solve the rows of a side for the fixed panel `Y`, whose background has the eigenvalues `g`.

        `rotation` is that of a panel which is a rotated copy. `problem` and `X` are others than the side's.
        """
        own, _, panel, _ = self.sides(side)
        problem, X = own if problem is None else problem, panel if X is None else X
        prior = self.model.priors.get(side)
        if not plan.sketch:
            problem = on_panel(problem, Y)
            if prior is not None and prior.factors.any():
                means = prior.means(last=plan.finish)
                basis.rotate(means, rotation, self.n_threads)
                problem = drawn_to(problem, means)
        if side not in self._solve:
            typical = self._plan(side, warm=True)
            self._solve[side] = self._where(problem.cells, Y, typical, self.n_threads)
        solve = self._solve[side]
        return sweep.half_step(problem, Y, g, self.model.width, X, plan, self.n_threads, solve, mend=mend)

    def _whitenable(self, side: str, plan: Plan) -> _Ridges | None:
        """Return the ridges of a side's rows if `whitening` may serve them.

        None if there are few factors, if rows have features, or if they are too many for what their coupling takes.
        """
        problem, _, X, Y = self.sides(side)
        if plan.finish or not self.background[side] or side in self.model.priors or self.model.width < WHITENED:
            return None
        c, r = (problem.rows[:, i].astype(np.float64) for i in (BACKGROUND, RIDGE))
        there = problem.cells.counts > 0  # the others are 0 in any basis
        if c[there].min(initial=np.inf) <= 0 or not there.any():
            return None
        ratios = r[there] / c[there]
        least, most = float(ratios.min()), float(ratios.max())
        if most > least and not (plan.reads_start and len(X) + len(Y) <= FEW * self.model.width):
            return None
        return _Ridges(c, r, there, least, most)

    def _solve_whitened(self, side: str, plan: Plan, ridges: _Ridges, reported: bool) -> Outcome | None:
        """Solve the rows of a side in the basis of `whitening`, where they are only meanwhile.

        Losses are right if they are `reported`. None if rounding or the coupling would count, or if a row cannot be
        solved so. Then X stays as it was.
        """
        problem, _, X, Y = self.sides(side)
        (c, r, there, least, most), width, n_threads = ridges, self.model.width, self.n_threads
        coupled = most > least
        gram = basis.gram(Y, problem.columns[:, BACKGROUND], width, n_threads)
        kept = _kept(problem, there) if coupled else 1.0
        found = whitening(gram, least, most, Y.dtype, float(plan.beyond), kept, n_threads)
        if found is None:
            return None
        white, x = self._memory(OTHER[side], partial(aligned_like, Y)), self._memory(side, partial(aligned_like, X))
        basis.rotate(Y, found.inverse.T, n_threads, UPPER, out=white)
        basis.rotate(X, found.root if plan.reads_start else None, n_threads, LOWER, out=x)
        taken = None
        if coupled:
            shares = 1 - np.divide(least * c, r, out=np.ones(len(r)), where=there)
            taken = self._coupled(side, x, found, shares.astype(X.dtype))
        outcome = self.solve_rows(side, white, basis.pad(found.g, Y), plan, mend=False, problem=taken, X=x)
        if not (outcome.status == OK).all():
            return None
        self._ridges.pop(side, None)
        basis.rotate(x, found.inverse, n_threads, LOWER, out=X)
        if taken is not None and reported:
            # The coupling is (r - c t) (|x|^2 - |x~|^2).
            changed = (r - least * c) * squares(X, n_threads) + least * c * squares(x, n_threads)
            outcome = outcome._replace(losses=outcome.losses + changed - r * squares(x, n_threads, taken.rows))
        return outcome

    def _coupled(self, side: str, x: np.ndarray, found: Whitening, shares: np.ndarray) -> RowProblem:
        """Return a side's problem in the basis of a whitening, with each row's coupling at its previous x as a mean.

        The rows of the panel are `x` in that basis. Their coupling is `shares` times the ridge r times C. So the mean
        is - share (C x~), and C x~ = (I + C) x~ - x~. Here (I + C) x~ is another rotation of x, by the transpose of the
        inverse. A row without entries has the share 0, and the mean 0.
        """
        problem, _, X, _ = self.sides(side)
        turned = self._memory(f"{side}, turned", partial(aligned_like, X))
        rows = self._memory(f"{side}, rows", partial(np.empty, (len(X), PRIOR + X.shape[1]), X.dtype))
        rows[:, :PRIOR] = problem.rows[:, :PRIOR]
        basis.rotate(X, found.inverse.T, self.n_threads, UPPER, out=turned)

        def put(some: slice) -> None:
            turned[some] -= x[some]
            np.multiply(turned[some], -shares[some, None], out=rows[some, PRIOR:])

        in_blocks(put, 0, len(X), PASS * X.shape[1], self.n_threads)
        return problem._replace(rows=rows)

    def _memory(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return an array with any numbers: the same one whenever it is asked for by this name, made the first time.

        To ask the system for memory and to give it back takes as long as to write to it, and only one thread does it.
        """
        if name not in self._spare:
            self._spare[name] = make()
        return self._spare[name]

    def _solve_in_eigenbasis(self, side: str, plan: Plan, balance: bool) -> Outcome:
        """Solve the rows of a side in the eigenbasis of their background, in which both sides then stay.

        Where the panel has a column of 1, they leave it again. Without a background, any basis is one.
        """
        problem, _, _, Y = self.sides(side)
        if len(problem.shifts.columns):
            return self._solve_with_biases(side, plan, balance)
        if self.background[side]:
            g = self._to_eigenbasis(side, balance, plan.reads_start)
        if plan.finish or not self.background[side]:
            g = self._fix(side, Y, problem.columns[:, BACKGROUND])
        return self.solve_rows(side, Y, g, plan)

    def _solve_with_biases(self, side: str, plan: Plan, balance: bool) -> Outcome:
        """Solve the rows of a side for a panel with a column of 1, in an eigenbasis that both sides are in meanwhile.

        A rotation mixes the 1, and the bias of a row, into the factors. So it is taken back, as in `fold_in`, whose
        bits the last half-step has. Only factors are balanced.
        """
        problem, _, X, Y = self.sides(side)
        width, n_threads, weights = self.model.width, self.n_threads, problem.columns[:, BACKGROUND]
        if balance:
            self._balance_factors(side, plan.reads_start)
        self._ridges.pop(side, None)
        fixed = basis.fix(Y, weights, width, n_threads)
        if plan.reads_start:
            basis.rotate(X, fixed.rotation, n_threads)
        outcome = self.solve_rows(side, fixed.panel, fixed.g, plan, rotation=fixed.rotation)
        basis.rotate(X, None if fixed.rotation is None else fixed.rotation.T, n_threads)
        return outcome

    def _balance_factors(self, side: str, needed: bool) -> None:
        """Balance the factors of both panels, and leave biases as they are. X is rotated only if it is `needed`."""
        _, _, X, Y = self.sides(side)
        width, n_threads = self.model.width, self.n_threads
        k = width - (self.model.bias >= 0)
        grams = self._ridge_grams(side, k)
        if grams is None:
            return
        ours, theirs = np.eye(width), np.eye(width)
        ours[:k, :k], theirs[:k, :k], _ = basis.balance(*grams, self.n_threads)
        basis.rotate(Y, theirs, n_threads)
        self._turn(OTHER[side], theirs)
        self._turn(side, ours)
        if needed:
            basis.rotate(X, ours, n_threads)

    def _to_eigenbasis(self, side: str, balance: bool, needed: bool) -> np.ndarray:
        """Balance the panels and rotate them so that the background of Y is diagonal. Return its eigenvalues.

        X is rotated only if the half-step reads it, as a start or to go beyond the solution.

        Gram matrices are kept where they follow from others: they would take a quarter of a fit on short rows. If all
        rows share one ridge and all columns one background, a half-step computes only that of the panel solved last.
        """
        problem, _, X, Y = self.sides(side)
        width, n_threads = self.model.width, self.n_threads
        background = basis.gram(Y, problem.columns[:, BACKGROUND], width, n_threads)
        alike, ours, theirs, grams = self._alike(side), None, None, None
        if balance:
            grams = self._ridge_grams(side, width, None if alike is None else alike * background)
        self._ridges.pop(side, None)
        if grams is not None:
            ours, theirs, balanced = basis.balance(*grams, self.n_threads)
            background = basis.turned(background, theirs, n_threads) if alike is None else balanced / alike
        g, rotation = basis.diagonalise(background, Y.dtype)
        theirs = basis.composed(theirs, rotation, n_threads)
        basis.rotate(Y, theirs, n_threads)
        self._turn(OTHER[side], theirs)
        if needed or side in self.model.priors:
            ours = basis.composed(ours, rotation, n_threads)
            self._turn(side, ours)
        if needed:
            basis.rotate(X, ours, n_threads)
        if alike is not None:
            self._ridges[OTHER[side]] = np.diag(alike * g)
        return basis.pad(g, Y)

    def _alike(self, side: str) -> float | None:
        """Return the ratio of ridge and background of a side's columns; None if the ridge lies on less than the panel.

        That is so with features.
        """
        return None if OTHER[side] in self._ridges else self._ratios[side]

    def _ridge_grams(
        self, side: str, width: int, of_columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the Gram matrices, weighted by the ridge, of a side's rows and of its columns: `of_columns` if given.

        None if one of them is 0 or not finite, as there is nothing to balance then.
        """

        def found(name: str) -> np.ndarray:
            problem, _, X, _ = self.sides(name)
            if name in self._ridges:
                return self._ridges[name][:width, :width]
            return basis.gram(X, problem.rows[:, RIDGE], width, self.n_threads)

        grams = found(side), found(OTHER[side]) if of_columns is None else of_columns
        return grams if all(0 < gram.trace() < np.inf for gram in grams) else None

    def _turn(self, side: str, rotation: np.ndarray | None) -> None:
        """Rotate what the features of a side have learned, as its panel is rotated."""
        if side in self.model.priors:
            self.model.priors[side].turn(rotation)
            if side in self._ridges:
                self._ridges[side] = basis.turned(self._ridges[side], rotation, self.n_threads)


def _kept(problem: RowProblem, there: np.ndarray) -> float:
    """Bound the confidences of the entries from below, as a share of what they would have unobserved, by 1 at most."""
    rows, columns = (numbers.astype(np.float64) for numbers in (problem.rows[there], problem.columns))
    columns = columns[columns[:, BACKGROUND] > 0]
    of_rows, of_columns = (float((of[:, WEIGHT] / of[:, BACKGROUND]).min(initial=np.inf)) for of in (rows, columns))
    return min(1.0, float(problem.rule.constant) * float(problem.cells.weights.min()) * of_rows * of_columns)


def _ratio(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return x / y if both arrays are constant and y is not 0, else None."""
    return float(x[0]) / float(y[0]) if (x == x[0]).all() and (y == y[0]).all() and y[0] != 0 else None


def fold_in(
    problem: RowProblem, fixed: basis.Fixed, width: int, solver: str, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solve new rows for a fixed side, by the last half-step of a fit.

    Parameters
    ----------
    problem : RowProblem
        The new rows.
    fixed : Fixed
        The fixed side, as `basis.fix` returns it.
    width : int
        Columns of the panel in use.
    solver : str
    n_threads : int

    Returns
    -------
    X : ndarray, shape (n_rows, kp)
        In the basis of the original factors of the fixed side.
    status : ndarray of int8, shape (n_rows,)
        See `problem`.
    """
    X = np.zeros((problem.cells.n_rows, fixed.panel.shape[1]), fixed.panel.dtype)
    if problem.rows.shape[1] > PRIOR and fixed.rotation is not None:
        means = aligned_copy(problem.rows[:, PRIOR:])
        basis.rotate(means, fixed.rotation, n_threads)
        problem = drawn_to(problem, means)
    if fixed.shifts is not None:
        problem = problem._replace(shifts=fixed.shifts)
    plan = plan_for(solver, X.dtype, bool(fixed.g.any()), warm=False, last=True)
    outcome = sweep.half_step(problem, fixed.panel, fixed.g, width, X, plan, n_threads, extent=fixed.extent)
    if fixed.rotation is not None:
        basis.rotate(X, fixed.rotation.T, n_threads)
    return X, outcome.status


def loss(model: Model, n_threads: int) -> float:
    """Return the objective of the panels."""
    total = ridge(model.users, model.X, n_threads) + ridge(model.items, model.Y, n_threads)
    with biases_as_offsets(model.users, model.Y, model.bias):
        total += cells_and_background(model.users, model.X, model.Y, model.width, n_threads)
    return total
