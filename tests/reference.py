"""Every objective in dense float64 NumPy, from the papers' formulas: slow, obvious, what the library must meet.

Each one is the same sum over ALL cells of a users x items matrix,

    sum_ui C_ui (T_ui - P_ui)^2  +  sum_u ridge_u |x_u|^2  +  sum_i ridge_i |y_i|^2 ,

and differs only in the confidences C and the targets T (and, with biases, in the prediction P). Nothing is reduced,
nothing is sparse. `R` is always a dense users x items matrix where NaN means "not observed".

    objective = Implicit(alpha=10.0, regularization=(0.1, 0.2))
    X = objective.solve_users(R, Y)
    Y = objective.solve_items(R, X)
    objective.loss(R, X, Y)

With biases a row of X is [x_u, b_u] and a row of Y is [y_i, b_i]: the bias is the last column.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
ItemWeights = Callable[[Array], Array]


# One side's rows, the other side fixed.


def solve_rows(C: Array, T: Array, Y: Array, ridges: Array, observed: Mask) -> Array:
    """Minimise sum_j C_j (T_j - x.y_j)^2 + ridge |x|^2 for each row of C; a row without observed cells is 0."""
    X = np.zeros((len(C), Y.shape[1]))
    for u in range(len(C)):
        if observed[u].any():
            confidence = np.diag(C[u])
            A = Y.T @ confidence @ Y + ridges[u] * np.eye(Y.shape[1])
            X[u] = np.linalg.solve(A, Y.T @ confidence @ T[u])
    return X


def gradient_rows(C: Array, T: Array, X: Array, Y: Array, ridges: Array) -> Array:
    """Differentiate sum_j C_j (T_j - x.y_j)^2 + ridge |x|^2 by each row of X."""
    gradient = np.zeros(X.shape)
    for u in range(len(C)):
        for j in range(len(Y)):
            gradient[u] -= 2.0 * C[u, j] * (T[u, j] - X[u] @ Y[j]) * Y[j]
        gradient[u] += 2.0 * ridges[u] * X[u]
    return gradient


# What the objectives have in common.


def popularity(counts: Array, exponent: float) -> Array:
    """p_i = N f_i^e / sum_j f_j^e, whose mean over the N items is 1 (He et al. 2016, eq. 8); 1 for all at e = 0."""
    if exponent == 0.0:
        return np.ones(len(counts))
    shares = counts**exponent
    return len(counts) * shares / shares.sum() if shares.sum() > 0.0 else shares


def frequency_scaled_ridges(
    observed: Mask, regularization: float | tuple[float, float], exponent: float, unobserved_weight: float
) -> tuple[Array, Array]:
    """lambda_u = reg_user (n_u + a0 N_items)^nu and lambda_i = reg_item (n_i + a0 N_users)^nu (Rendle et al. 2022)."""
    n_users, n_items = observed.shape
    user, item = regularization if isinstance(regularization, tuple) else (regularization, regularization)
    users = user * (observed.sum(axis=1) + unobserved_weight * n_items) ** exponent
    items = item * (observed.sum(axis=0) + unobserved_weight * n_users) ** exponent
    return users, items


class Objective:
    """What every objective does with its own `observed`, `cells` and `ridges`.

    `training` is the matrix from which the item counts and the mean come; R itself where it is not given.
    New users folded into a fitted model are `solve_users(R_new, Y, training=R)`.
    """

    def observed(self, R: Array) -> Mask:
        return ~np.isnan(R)

    def cells(self, R: Array, training: Array | None = None) -> tuple[Array, Array]:
        """Confidences C and targets T of all cells, (n_users, n_items) each; C = 0 where a cell is not in the loss."""
        raise NotImplementedError

    def ridges(self, R: Array) -> tuple[Array, Array]:
        """Ridge of each user and of each item."""
        raise NotImplementedError

    biases: bool = False

    def mean(self, R: Array) -> float:
        """The constant in every prediction."""
        return 0.0

    def regressors(self, other: Array) -> tuple[Array, Array]:
        """Split a fixed side into the columns that a row of the free side multiplies and the part already known."""
        if not self.biases:
            return other, np.zeros(len(other))
        factors, bias = other[:, :-1], other[:, -1]
        return np.column_stack([factors, np.ones(len(other))]), bias

    def predict(self, R: Array, X: Array, Y: Array) -> Array:
        columns, known = self.regressors(Y)
        return self.mean(R) + known + X @ columns.T

    def loss(self, R: Array, X: Array, Y: Array) -> float:
        C, T = self.cells(R)
        ridge_users, ridge_items = self.ridges(R)
        misfit = np.sum(C * (T - self.predict(R, X, Y)) ** 2)
        return float(misfit + ridge_users @ np.sum(X**2, axis=1) + ridge_items @ np.sum(Y**2, axis=1))

    def solve_users(self, R: Array, Y: Array, training: Array | None = None) -> Array:
        C, T = self.cells(R, training)
        columns, known = self.regressors(Y)
        left = T - self.mean(R if training is None else training) - known
        return solve_rows(C, left, columns, self.ridges(R)[0], self.observed(R))

    def solve_items(self, R: Array, X: Array) -> Array:
        C, T = self.cells(R)
        columns, known = self.regressors(X)
        left = T.T - self.mean(R) - known
        return solve_rows(C.T, left, columns, self.ridges(R)[1], self.observed(R).T)

    def gradient_users(self, R: Array, X: Array, Y: Array) -> Array:
        C, T = self.cells(R)
        columns, known = self.regressors(Y)
        return gradient_rows(C, T - self.mean(R) - known, X, columns, self.ridges(R)[0])

    def gradient_items(self, R: Array, X: Array, Y: Array) -> Array:
        C, T = self.cells(R)
        columns, known = self.regressors(X)
        return gradient_rows(C.T, T.T - self.mean(R) - known, Y, columns, self.ridges(R)[1])


# The objectives.


@dataclass(frozen=True, eq=False, kw_only=True)
class Implicit(Objective):
    """Implicit feedback (Hu, Koren & Volinsky 2008): preference 1 with confidence 1 + alpha r where r > 0.

    r < 0 is a dislike: preference 0 with confidence 1 + alpha |r|. r = 0 is not observed, as NaN is. A cell that is not
    observed has preference 0 and confidence a0 p_i; a0 = 1 and p = 1 is the paper. With biases P = b_u + b_i + x.y.
    """

    biases: bool = False
    alpha: float = 1.0
    regularization: float | tuple[float, float] = 0.01
    regularization_exponent: float = 0.0
    unobserved_weight: float = 1.0
    popularity_exponent: float = 0.0
    regularization_counts: str = "all"

    def observed(self, R: Array) -> Mask:
        return np.nan_to_num(R) != 0.0

    def cells(self, R: Array, training: Array | None = None) -> tuple[Array, Array]:
        counts = self.observed(R if training is None else training).sum(axis=0)
        missing = self.unobserved_weight * popularity(counts, self.popularity_exponent)
        r = np.nan_to_num(R)
        C = np.where(self.observed(R), 1.0 + self.alpha * np.abs(r), missing)
        T = np.where(r > 0.0, 1.0, 0.0)
        return C, T

    def ridges(self, R: Array) -> tuple[Array, Array]:
        unobserved = self.unobserved_weight if self.regularization_counts == "all" else 0.0
        return frequency_scaled_ridges(self.observed(R), self.regularization, self.regularization_exponent, unobserved)


@dataclass(frozen=True, eq=False, kw_only=True)
class Explicit(Objective):
    """Ratings on observed cells only (Zhou et al. 2008); with biases P = mean + b_u + b_i + x.y (Koren et al. 2009).

    A rating of 0 is a rating. The mean is that of all observed cells; the ridge lies on the biases too.
    """

    biases: bool = True
    regularization: float | tuple[float, float] = 0.1
    regularization_exponent: float = 1.0

    def cells(self, R: Array, training: Array | None = None) -> tuple[Array, Array]:
        return np.where(self.observed(R), 1.0, 0.0), np.nan_to_num(R)

    def ridges(self, R: Array) -> tuple[Array, Array]:
        return frequency_scaled_ridges(self.observed(R), self.regularization, self.regularization_exponent, 0.0)

    def mean(self, R: Array) -> float:
        return float(np.nanmean(R)) if self.biases and self.observed(R).any() else 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighted(Objective):
    """Weighted ALS: the target r with weight W_ui on observed cells, the target 0 with weight a0 p_i on all others.

    W_ui = item weight (a number, an array, or a function of the items' counts) times `weights`, one number per cell.
    a0 = 0 is WALS; weights 1 and a0 = 1 are plain regularised ALS on the full matrix; a popularity exponent is eALS
    (He et al. 2016). With biases P = mean + b_u + b_i + x.y; the mean is that of all observed cells where a0 = 0, and 0
    where unobserved cells are data.
    """

    biases: bool = False
    item_weights: ArrayLike | ItemWeights = 1.0
    weights: ArrayLike = 1.0
    regularization: float | tuple[float, float] = 0.1
    regularization_exponent: float = 0.0
    unobserved_weight: float = 0.0
    popularity_exponent: float = 0.0
    regularization_counts: str = "all"

    def cells(self, R: Array, training: Array | None = None) -> tuple[Array, Array]:
        counts = self.observed(R if training is None else training).sum(axis=0)
        missing = self.unobserved_weight * popularity(counts, self.popularity_exponent)
        item_weights = self.item_weights(counts) if callable(self.item_weights) else np.asarray(self.item_weights)
        observed = self.observed(R)
        # Whatever `weights` holds at a cell that is not observed is not looked at.
        cell_weights = np.where(observed, self.weights, 0.0)
        return np.where(observed, item_weights * cell_weights, missing), np.nan_to_num(R)

    def mean(self, R: Array) -> float:
        counted = self.biases and self.unobserved_weight == 0.0 and self.observed(R).any()
        return float(np.nanmean(R)) if counted else 0.0

    def ridges(self, R: Array) -> tuple[Array, Array]:
        unobserved = self.unobserved_weight if self.regularization_counts == "all" else 0.0
        return frequency_scaled_ridges(self.observed(R), self.regularization, self.regularization_exponent, unobserved)


# Features: a learned prior mean.


@dataclass(frozen=True, eq=False, kw_only=True)
class Featured:
    """An objective whose ridges lie on what features leave: on x_u - A'f_u with features F, and on y_i - B'h_i with H.

    The penalties mu |A|^2 and mu |B|^2 come on top, with mu so many times `unit` mean ridges of a row. On a side with
    features a row without observed cells is its prior mean and nothing else: none of its cells is in the loss.
    None stands for a side without features.
    """

    objective: Objective
    F: Array | None = None
    H: Array | None = None
    feature_regularization: tuple[float, float] = (1.0, 1.0)
    unit: float = 100.0

    def warm(self, R: Array) -> tuple[Mask, Mask]:
        """Which users, and which items, have observed cells."""
        observed = self.objective.observed(R)
        return observed.any(axis=1), observed.any(axis=0)

    def cells(self, R: Array) -> tuple[Array, Array]:
        C, T = self.objective.cells(R)
        users, items = self.warm(R)
        if self.F is not None:
            C = C * users[:, None]
        if self.H is not None:
            C = C * items
        return C, T

    def ridges(self, R: Array) -> tuple[Array, Array]:
        return tuple(r * w for r, w in zip(self.objective.ridges(R), self.warm(R), strict=True))  # type: ignore[return-value]

    def mu(self, R: Array) -> tuple[float, float]:
        ridges = zip(self.objective.ridges(R), self.warm(R), self.feature_regularization, strict=True)
        return tuple(self.unit * c * float(r[w].mean()) for r, w, c in ridges)  # type: ignore[return-value]

    def loss(self, R: Array, X: Array, Y: Array, A: Array | None, B: Array | None) -> float:
        C, T = self.cells(R)
        total = float(np.sum(C * (T - self.objective.predict(R, X, Y)) ** 2))
        sides = zip((X, Y), (self.F, self.H), (A, B), self.ridges(R), self.mu(R), strict=True)
        for rows, features, learned, ridges, mu in sides:
            if features is None or learned is None:
                total += float(ridges @ np.sum(rows**2, axis=1))
            else:
                total += float(ridges @ np.sum((rows - features @ learned) ** 2, axis=1) + mu * np.sum(learned**2))
        return total

    def solve_users(self, R: Array, Y: Array, A: Array | None) -> Array:
        C, T = self.cells(R)
        columns, known = self.objective.regressors(Y)
        left = T - self.objective.mean(R) - known
        return self._solve(C, left, columns, self.ridges(R)[0], self.F, A, self.warm(R)[0])

    def solve_items(self, R: Array, X: Array, B: Array | None) -> Array:
        C, T = self.cells(R)
        columns, known = self.objective.regressors(X)
        left = T.T - self.objective.mean(R) - known
        return self._solve(C.T, left, columns, self.ridges(R)[1], self.H, B, self.warm(R)[1])

    def _solve(
        self, C: Array, T: Array, Y: Array, ridges: Array, F: Array | None, A: Array | None, warm: Mask
    ) -> Array:
        """Minimise sum_j C_j (T_j - x.y_j)^2 + ridge |x - p|^2 for each row."""
        X = np.zeros((len(C), Y.shape[1])) if F is None or A is None else F @ A
        for u in np.flatnonzero(warm):
            system = Y.T @ (C[u, :, None] * Y) + ridges[u] * np.eye(Y.shape[1])
            X[u] = np.linalg.solve(system, Y.T @ (C[u] * T[u]) + ridges[u] * X[u])
        return X

    def solve_features(self, R: Array, rows: Array, side: int) -> Array:
        """Return the A, or for side 1 the B, that is best for these rows: (F'RF + mu I) A = F'RX."""
        F, ridges, mu = (self.F, self.H)[side], self.ridges(R)[side], self.mu(R)[side]
        assert F is not None
        return np.linalg.solve(F.T @ (ridges[:, None] * F) + mu * np.eye(F.shape[1]), F.T @ (ridges[:, None] * rows))


# Weights by the number of observed cells of an item. An item without any weighs as one with a single cell: no cell of
# the loss uses that weight, only a new user who has what nobody had before.


def linear_weights(counts: Array, w0: float = 0.1, wk: float = 1.0) -> Array:
    """w0 + wk / count."""
    return w0 + wk / np.maximum(counts, 1.0)


def exponential_weights(counts: Array, w0: float = 1.0, e: float = 0.1) -> Array:
    """w0 + (1 / count)^e."""
    return w0 + (1.0 / np.maximum(counts, 1.0)) ** e


# The NumPy loops that people run today: zeros for missing cells, a normal start, users first.


def text_start(shape: tuple[int, int], rank: int, seed: int, dtype: DTypeLike) -> tuple[NDArray, NDArray]:
    """Standard normal factors: all users are drawn first, then all items."""
    rng = np.random.default_rng(seed)
    n_users, n_items = shape
    U = rng.normal(0.0, 1.0, (n_users, rank)).astype(dtype)
    V = rng.normal(0.0, 1.0, (n_items, rank)).astype(dtype)
    return U, V


def text_mask(R: NDArray, zero_means_missing: bool) -> Array:
    """1 where a cell counts as observed: positive, or else just not NaN."""
    return (R > 0).astype(np.float64) if zero_means_missing else (~np.isnan(R)).astype(np.float64)


def text_als(
    R: NDArray,
    rank: int = 10,
    iters: int = 100,
    reg: float = 0.1,
    *,
    zero_means_missing: bool = True,
    seed: int = 42,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray, NDArray, Array, Array]:
    """Plain regularised ALS on the full matrix, zeros are data; returns U, V, the item weights (all 1) and the mask."""
    U, V = text_start(R.shape, rank, seed, dtype)
    data = R.astype(dtype)
    ridge = reg * np.eye(rank, dtype=dtype)
    for _ in range(iters):
        U = np.linalg.solve(V.T @ V + ridge, V.T @ data.T).T
        V = np.linalg.solve(U.T @ U + ridge, U.T @ data).T
    return U, V, np.ones(R.shape[1]), text_mask(R, zero_means_missing)


def text_wals(
    R: NDArray,
    rank: int = 10,
    iters: int = 100,
    reg: float = 0.1,
    *,
    weight_fn: ItemWeights = linear_weights,
    zero_means_missing: bool = True,
    seed: int = 42,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray, NDArray, Array, Array]:
    """Weighted ALS, one item weight on each observed cell and 0 elsewhere; returns U, V, the item weights and the mask.

    `dtype` is that of what is stored: the weights are float64, and with them each row's system.
    """
    U, V = text_start(R.shape, rank, seed, dtype)
    data = R.astype(dtype)
    mask = text_mask(R, zero_means_missing)
    item_weights = weight_fn(mask.sum(axis=0))
    W = mask * item_weights
    ridge = reg * np.eye(rank, dtype=dtype)
    for _ in range(iters):
        for u, w in enumerate(W):
            U[u] = np.linalg.solve(V.T @ (V * w[:, None]) + ridge, (data[u] * w) @ V)
        for i, w in enumerate(W.T):
            V[i] = np.linalg.solve(U.T @ (U * w[:, None]) + ridge, (data[:, i] * w) @ U)
    return U, V, item_weights, mask
