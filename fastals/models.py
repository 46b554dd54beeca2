"""The three models: their parameters and their objectives. All else is in `base` and what builds on it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .data.interactions import Interactions, MatrixLike
from .explain import Explaining
from .objectives import ItemWeights, Objective, check_regularization
from .persistence import Saving, read_model
from .ranking import Ranking
from .updates import Updating
from .validation import check_dtype, check_flag, check_number

__all__ = ["ExplicitALS", "ImplicitALS", "WeightedALS", "load", "warmup"]


class _ALS(Ranking, Explaining, Updating, Saving):
    """All that a model can do."""


class ImplicitALS(_ALS):
    """Implicit feedback: what users did, not what they said (Hu, Koren & Volinsky 2008).

    Parameters
    ----------
    factors : int, default 64
        Length of a user's and an item's vector.
    regularization : float or (float, float), default 0.01
        Of users and items, or (user, item).
    alpha : float, default 1.0
        Confidence of a cell is 1 + alpha |r|.
    iterations : int, default 15
        Half-steps of items and of users, each side's over-relaxed from the second on, under which the loss still never
        rises; the last one, of the users, is exact.
    unobserved_weight : float, default 1.0
        Weight of the cells not in R, with target 0.
    popularity_exponent : float, default 0.0
        e: an unobserved cell of item i weighs `unobserved_weight * p_i`, `p_i` proportional to (cells of i)^e, mean 1.
    regularization_exponent : float, default 0.0
        nu: the ridge of a row with n cells is `regularization * (n + unobserved_weight * N)^nu`, N rows on the other
        side. 0: the plain ridge; 1: as ALS-WR and iALS have it.
    solver : {'auto', 'cholesky', 'cg', 'plain'}, default 'auto'
        How rows are solved. 'cholesky': exactly, throughout. 'cg': by conjugate gradients, 3 steps from the previous
        iterate. 'auto': each row in the cheaper way. In the last half-step, and so in what is stored and folded in,
        'cg' and 'auto' go on until what a row's loss can still fall by is at most 1e-10 (float64: 1e-28) of what it
        fell by so far, beside rounding; a row that does not get there within 32 steps is finished by Cholesky. 'plain':
        the textbook's loop from a random start, each row by a k x k Cholesky, in code to read and to debug.
    dtype : {'float32', 'float64'}, default 'float32'
        Of the factors and of the arithmetic.
    tol : float, default 0.0
        Stop when an iteration lowers the loss by less than this share of it; 0: never.
    n_threads : int, optional
        Threads in all; None: as many as the process may use. The result does not depend on it.
    random_state : int, numpy.random.Generator or None
        Of the start. The same int gives the same bits.

    Attributes
    ----------
    user_factors_, item_factors_ : ndarray, shapes (n_users, factors), (n_items, factors)
        The users are optimal for the items. Rows without cells are 0.
    loss_history_ : list of float
        The objective after the items of each iteration, and after the users of the last. The first of several has users
        that were only guessed, and long: with 1024 factors their ridge may make it ten times the second. It comes with
        the solutions: in float32 it is good to a few 1e-6 of what the objective is where all factors are 0. `loss`
        computes it.
    n_iter_ : int
        Iterations done.

    Notes
    -----
    Minimises, with t = 1 for r > 0 and t = 0 for r < 0 (disliked), r = 0 being the same as not stored,

        sum_{stored} (1 + alpha |r|) (t - x_u.y_i)^2 + sum_{others} unobserved_weight p_i (x_u.y_i)^2
            + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2

    References
    ----------
    Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets. ICDM 2008.
    """

    _missing = "zero"

    def __init__(
        self,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.01,
        alpha: float = 1.0,
        iterations: int = 15,
        unobserved_weight: float = 1.0,
        popularity_exponent: float = 0.0,
        regularization_exponent: float = 0.0,
        solver: str = "auto",
        dtype: Any = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
    ):
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.iterations = iterations
        self.unobserved_weight = unobserved_weight
        self.popularity_exponent = popularity_exponent
        self.regularization_exponent = regularization_exponent
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state

    def _objective(self) -> Objective:
        return Objective(
            constant=1.0,
            slope=check_number("alpha", self.alpha, 0.0),
            sign_target=1.0,
            value_target=0.0,
            regularization=check_regularization(self.regularization),
            unobserved_weight=check_number("unobserved_weight", self.unobserved_weight, 0.0),
            popularity_exponent=check_number("popularity_exponent", self.popularity_exponent, 0.0),
            regularization_exponent=check_number("regularization_exponent", self.regularization_exponent, 0.0),
        )

    def _interactions(self, R: MatrixLike, dtype: np.dtype, **expected: Any) -> Interactions:
        return super()._interactions(R, dtype, **expected).without_zeros()


class ExplicitALS(_ALS):
    """Ratings: only stored cells count, and the mean, the user and the item have a bias (ALS-WR with biases).

    Parameters
    ----------
    factors : int, default 64
        Length of a user's and an item's vector, biases not counted.
    regularization : float or (float, float), default 0.1
        Of users and items, or (user, item); of biases too.
    biases : bool, default True
        Predict `mean + user bias + item bias + x.y`, the biases solved jointly with the factors; False: `x.y`.
    regularization_exponent : float, default 1.0
        nu: the ridge of a row with n ratings is `regularization * n^nu`.
    iterations, solver, dtype, tol, n_threads, random_state
        As in `ImplicitALS`.

    Attributes
    ----------
    user_factors_, item_factors_, loss_history_, n_iter_
        As in `ImplicitALS`.
    user_biases_, item_biases_ : ndarray, shapes (n_users,), (n_items,)
        With `biases` only.
    global_mean_ : float
        Mean of the ratings; with `biases` only.

    Notes
    -----
    Every stored cell is a rating, a stored 0 too; in dense input NaN marks what is not rated. Minimises

        sum_{rated} (r - mean - b_u - b_i - x_u.y_i)^2
            + sum_u ridge_u (|x_u|^2 + b_u^2) + sum_i ridge_i (|y_i|^2 + b_i^2)

    References
    ----------
    Zhou, Wilkinson, Schreiber, Pan: Large-scale parallel collaborative filtering for the Netflix Prize. AAIM 2008.
    """

    def __init__(
        self,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.1,
        biases: bool = True,
        regularization_exponent: float = 1.0,
        iterations: int = 15,
        solver: str = "auto",
        dtype: Any = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
    ):
        self.factors = factors
        self.regularization = regularization
        self.biases = biases
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state

    def _objective(self) -> Objective:
        return Objective(
            constant=1.0,
            slope=0.0,
            sign_target=0.0,
            value_target=1.0,
            regularization=check_regularization(self.regularization),
            regularization_exponent=check_number("regularization_exponent", self.regularization_exponent, 0.0),
            biases=check_flag("biases", self.biases),
        )


class WeightedALS(_ALS):
    """Weighted ALS: every stored cell is an observation with a weight of its own, every other cell a weaker 0.

    Parameters
    ----------
    factors : int, default 64
    regularization : float or (float, float), default 0.1
        Of users and items, or (user, item).
    item_weights : LinearWeights, ExponentialWeights, callable counts -> weights, array of shape (n_items,), optional
        Factor of the weight of each stored cell of an item; None: 1.
    unobserved_weight : float, default 0.0
        Weight of the cells not stored, with target 0. With 1 and no `item_weights` this is plain regularised ALS on
        the full matrix, zeros being data.
    popularity_exponent, regularization_exponent, iterations, solver, dtype, tol, n_threads, random_state
        As in `ImplicitALS`.

    Attributes
    ----------
    user_factors_, item_factors_, loss_history_, n_iter_
        As in `ImplicitALS`.

    Notes
    -----
    Every stored cell is an observation, a stored 0 too; in dense input NaN marks what is not observed. Minimises

        sum_{stored} W_ui (r - x_u.y_i)^2 + sum_{others} unobserved_weight p_i (x_u.y_i)^2
            + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2 ,      W_ui = item weight of i * weight of the cell
    """

    def __init__(
        self,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.1,
        item_weights: ItemWeights = None,
        unobserved_weight: float = 0.0,
        popularity_exponent: float = 0.0,
        regularization_exponent: float = 0.0,
        iterations: int = 15,
        solver: str = "auto",
        dtype: Any = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
    ):
        self.factors = factors
        self.regularization = regularization
        self.item_weights = item_weights
        self.unobserved_weight = unobserved_weight
        self.popularity_exponent = popularity_exponent
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state

    def _objective(self) -> Objective:
        weights = self.item_weights
        if weights is not None and not callable(weights):
            weights = np.asarray(weights)
        return Objective(
            constant=1.0,
            slope=0.0,
            sign_target=0.0,
            value_target=1.0,
            regularization=check_regularization(self.regularization),
            unobserved_weight=check_number("unobserved_weight", self.unobserved_weight, 0.0),
            popularity_exponent=check_number("popularity_exponent", self.popularity_exponent, 0.0),
            regularization_exponent=check_number("regularization_exponent", self.regularization_exponent, 0.0),
            item_weights=weights,
        )


MODELS: dict[str, type[ImplicitALS | ExplicitALS | WeightedALS]] = {
    model.__name__: model for model in (ImplicitALS, ExplicitALS, WeightedALS)
}


def load(path: str | os.PathLike[str]) -> ImplicitALS | ExplicitALS | WeightedALS:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ImplicitALS, ExplicitALS or WeightedALS
        Fitted; predictions and folded-in factors have the bits they had when it was saved. A model of a subclass
        becomes the one it derives from.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not a fastals model, damaged, or of a newer format.

    Examples
    --------
    >>> import fastals, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (1, 1, 1)]).save(path)
    >>> fastals.load(path).n_iter_
    15
    """
    return read_model(path, MODELS)


def warmup(dtype: Any = "float32") -> None:
    """Compile, or load from the disk cache, what fits, fold-in and recommendations of `dtype` need.

    Call it before serving, or once while an image is built: the first fit of a process otherwise waits for most of it,
    some 12 of 20 seconds on a machine that has never compiled this version and CPU, and a third of a second afterwards.
    What rows of more than 262,144 cells need besides is left to the first of them.

    Parameters
    ----------
    dtype : {'float32', 'float64'}, default 'float32'

    Raises
    ------
    ValueError
        Another dtype.
    """
    cells = Interactions(np.eye(3), check_dtype("dtype", dtype))
    model = ImplicitALS(factors=2, iterations=1, dtype=dtype, random_state=0).fit(cells)
    model.loss(cells)
    model.recommend(0, n=1)
    # Of a row of so many cells and factors the engine thinks no cache holds it.
    model.set_params(factors=256).fit(Interactions(np.ones((2, 2000)), cells.dtype))
