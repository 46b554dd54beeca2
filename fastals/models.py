"""The three models: their parameters and objectives. `base` and the modules above it have the methods."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from . import defaults
from .answers import Framing
from .base import Call, Solver
from .data.interactions import Interactions, MatrixLike
from .data.types import FloatType, column_names, is_frame
from .errors import tell_of_sums
from .explain import Explaining
from .objectives import (
    ItemWeights,
    Objective,
    RegularizationCounts,
    check_feature_regularization,
    check_regularization,
)
from .persistence import Saving, read_model
from .scoring import Scoring
from .updates import Updating
from .validation import check_dtype, check_flag, check_number, check_option, is_auto

__all__ = ["ExplicitALS", "ImplicitALS", "WeightedALS", "load", "warmup"]

Auto: TypeAlias = Literal["auto"]
COUNTED = get_args(RegularizationCounts)


class _ALS(Framing, Scoring, Explaining, Updating, Saving):
    """All methods of a model."""


class ImplicitALS(_ALS):
    """Factorise implicit feedback such as clicks, plays or purchases (Hu, Koren & Volinsky 2008).

    Parameters
    ----------
    factors : int, default 64
        Number of factors of a user and of an item.
    regularization : 'auto', float or (float, float), default 'auto'
        For users and items, or (user, item). 'auto': by a rule from sizes and counts, see `fastals.defaults`.
    alpha : float, default 0.0
        The confidence of an interaction with value r is 1 + alpha |r|. 0: all interactions count alike.
    iterations : int, default 15
        Number of ALS iterations; one iteration updates all items, then all users. From the second iteration on the
        updates are over-relaxed, and the loss never rises. The last update of the users is exact.
    unobserved_weight : 'auto' or float, default 'auto'
        Weight of unobserved entries, whose target is 0. 'auto': all of them together weigh ten times as much as the
        stored ones.
    popularity_exponent : float, default 0.25
        The exponent e: an unobserved entry of item i weighs `unobserved_weight * p_i`, where `p_i` is proportional to
        (number of interactions of i)^e and has the mean 1.
    biases : bool, default False
        Predict `user bias + item bias + x.y`, with biases solved together with the factors, for stored and unobserved
        entries alike; False: `x.y`. They have the ridge of the factors.
    regularization_exponent : float, default 1.0
        The exponent nu: the ridge of a user or item with n interactions is
        `regularization * (n + unobserved_weight * N)^nu`, where N is the number of items or users. 0: the same ridge
        for all; 1: the ridge of ALS-WR and iALS.
    regularization_counts : {'all', 'observed'}, default 'all'
        'observed': the ridge is `regularization * n^nu`, as in Spark.
    nonnegative : bool, default False
        Whether all factors are 0 or above. Each user and item then gets the exact minimum over such factors, without
        the eigenbasis of the other solvers, which takes several times as long. Biases may have any sign.
    solver : {'auto', 'cholesky', 'cg', 'plain'}, default 'auto'
        How the equations of a user or item are solved. 'cholesky': exactly. 'cg': by 3 steps of preconditioned
        conjugate gradients from the previous iterate. 'auto': by the cheaper of both. The last update of the users and
        fold-in are exact with all of them: 'cg' and 'auto' go on until the loss of a row can fall by at most 1e-10
        (float64: 1e-28) of its decrease so far, and take Cholesky after 32 steps. 'plain': a plain loop from a random
        start with one Cholesky factorisation a row, in code to read and to debug.
    dtype : {'float32', 'float64'}, default 'float32'
        Of the factors and of the arithmetic.
    tol : float, default 0.0
        Stop when an iteration lowers the loss by less than this share of the loss; 0: never.
    n_threads : int, optional
        Number of threads; None: as many as the process may use. The result does not depend on it.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None
        Seed of the start. The same int gives the same bits.
    feature_regularization : float or (float, float), default 1.0
        Ridge of what features add to the factors, for users and items, or (user, item), as a multiple of a
        hundred mean ridges of a user or item. Above 0; it counts only with features. At 1 a feature that a hundred
        users have takes half of what they share, and one that thousands have nearly all of it.

    Attributes
    ----------
    user_factors_, item_factors_ : ndarray, shapes (n_users, factors), (n_items, factors)
        The user factors are the solution for the item factors. Users and items without interactions have factors of 0,
        or what their features say.
    user_biases_, item_biases_ : ndarray, shapes (n_users,), (n_items,)
        With `biases` only; 0 without interactions.
    global_mean_ : float
        With `biases` only. 0: unobserved entries have the target 0, and an item without interactions is predicted so.
        With a mean above 0 it would be recommended before all items that few have.
    user_feature_factors_, item_feature_factors_ : ndarray, shape (n_features, factors)
        What each feature adds to the factors to which a user or item is drawn; with features only.
    user_feature_encoder_, item_feature_encoder_ : FeatureEncoder or None
        What made features of a table.
    loss_history_ : list of float
        The objective after the items of each iteration, and at the end after the users. In float32 its rounding error
        is a few 1e-6 of the objective at factors of 0; `loss` computes the objective more precisely. The first value
        may be far above the second, because it contains the ridge of the start.
    n_iter_ : int
        Number of iterations done.
    regularization_ : (float, float)
    unobserved_weight_ : float
        The numbers that were used, for users and for items; those of a rule have three digits.

    Notes
    -----
    Minimises, with t = 1 for r > 0 and t = 0 for r < 0 (disliked),

        sum_{stored} (1 + alpha |r|) (t - x_u.y_i)^2 + sum_{others} unobserved_weight p_i (x_u.y_i)^2
            + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2

    With biases the prediction b_u + b_i + x_u.y_i stands for x_u.y_i, and the ridge lies on the biases too. With
    features f_u the ridge lies on x_u - A'f_u, and mu |A|^2 comes on top; the same for items.

    A stored 0 is an unobserved entry.

    References
    ----------
    Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets. ICDM 2008.

    Examples
    --------
    >>> import fastals
    >>> plays = fastals.Interactions.from_triplets(["ann", "ann", "bob"], ["jazz", "rock", "rock"], [3, 1, 5])
    >>> model = fastals.ImplicitALS(factors=2, alpha=10.0, random_state=0).fit(plays)
    >>> ids, scores = model.recommend("bob", n=1)
    >>> ids
    array(['jazz'], dtype='<U4')
    """

    _missing = "zero"

    def __init__(
        self,
        factors: int = 64,
        regularization: Auto | float | tuple[float, float] = "auto",
        alpha: float = 0.0,
        iterations: int = 15,
        unobserved_weight: Auto | float = "auto",
        popularity_exponent: float = 0.25,
        regularization_exponent: float = 1.0,
        regularization_counts: RegularizationCounts = "all",
        nonnegative: bool = False,
        solver: Solver = "auto",
        dtype: FloatType = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
        feature_regularization: float | tuple[float, float] = 1.0,
        biases: bool = False,
    ):
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.iterations = iterations
        self.unobserved_weight = unobserved_weight
        self.popularity_exponent = popularity_exponent
        self.regularization_exponent = regularization_exponent
        self.regularization_counts = regularization_counts
        self.nonnegative = nonnegative
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state
        self.feature_regularization = feature_regularization
        self.biases = biases

    def _objective(self, R: Interactions | None = None) -> Objective:
        alpha = check_number("alpha", self.alpha, 0.0)
        exponent = check_number("regularization_exponent", self.regularization_exponent, 0.0)
        unobserved = 0.0
        if not is_auto("unobserved_weight", self.unobserved_weight):
            unobserved = check_number("unobserved_weight", self.unobserved_weight, 0.0)
        elif R is not None:
            unobserved = defaults.unobserved_weight(R, alpha)
        ridges = (0.0, 0.0)
        if not is_auto("regularization", self.regularization):
            ridges = check_regularization(self.regularization)
        elif R is not None:
            counted = unobserved if self.regularization_counts == "all" else 0.0
            ridges = defaults.of_implicit(R, alpha, counted, exponent)
        return Objective(
            constant=1.0,
            slope=alpha,
            sign_target=1.0,
            value_target=0.0,
            regularization=ridges,
            unobserved_weight=unobserved,
            popularity_exponent=check_number("popularity_exponent", self.popularity_exponent, 0.0),
            regularization_exponent=exponent,
            biases=check_flag("biases", self.biases),
            nonnegative=check_flag("nonnegative", self.nonnegative),
            regularization_counts=check_option("regularization_counts", self.regularization_counts, COUNTED),
            feature_regularization=check_feature_regularization(self.feature_regularization),
        )

    @property
    def unobserved_weight_(self) -> float:
        """The weight of unobserved entries in the fit."""
        return self._state.objective.unobserved_weight

    def _interactions(self, R: MatrixLike, dtype: np.dtype, **expected: Any) -> Interactions:
        return super()._interactions(R, dtype, **expected).without_zeros()


class ExplicitALS(_ALS):
    """Factorise explicit ratings, with a mean and with biases of users and items (ALS-WR with biases).

    Parameters
    ----------
    factors : int, default 64
        Number of factors of a user and of an item, without the bias.
    regularization : 'auto', float or (float, float), default 'auto'
        For users and items, or (user, item); for factors and biases. 'auto': by a rule from counts and from the spread
        of the ratings, see `fastals.defaults`.
    biases : bool, default True
        Predict `mean + user bias + item bias + x.y`, with biases solved together with the factors; False: `x.y`.
    regularization_exponent : float, default 1.0
        The exponent nu: the ridge of a user or item with n ratings is `regularization * n^nu`.
    iterations, nonnegative, solver, dtype, tol, n_threads, random_state, feature_regularization
        As in `ImplicitALS`.
    implicit_features : bool, default False
        Whether a user's factors are drawn to what the items that the user has rated at all say, whatever the ratings
        (the idea of SVD++). Not together with `user_features`. `feature_regularization` is the ridge of what they add,
        as a multiple of ten mean ridges of a user.

    Attributes
    ----------
    user_factors_, item_factors_, loss_history_, n_iter_, regularization_
        As in `ImplicitALS`.
    user_biases_, item_biases_ : ndarray, shapes (n_users,), (n_items,)
        With `biases` only.
    global_mean_ : float
        Mean of the ratings; with `biases` only.

    Notes
    -----
    Every stored entry is a rating, a stored 0 too; in dense input NaN marks missing ratings. Minimises

        sum_{rated} (r - mean - b_u - b_i - x_u.y_i)^2
            + sum_u ridge_u (|x_u|^2 + b_u^2) + sum_i ridge_i (|y_i|^2 + b_i^2)

    With `implicit_features` the ridge of a user lies on (x_u, b_u) - sum_j a_j / sqrt(n_u), where the sum runs over the
    n_u items that the user has rated, and mu sum_j |a_j|^2 comes on top. `user_feature_factors_` has the a_j.

    References
    ----------
    Zhou, Wilkinson, Schreiber, Pan: Large-scale parallel collaborative filtering for the Netflix Prize. AAIM 2008.
    Koren: Factorization meets the neighborhood: a multifaceted collaborative filtering model. KDD 2008 (SVD++).

    Examples
    --------
    >>> import fastals
    >>> ratings = [(0, 0, 5.0), (0, 1, 1.0), (1, 0, 4.0), (2, 1, 2.0)]
    >>> model = fastals.ExplicitALS(factors=2, random_state=0).fit(ratings)
    >>> model.global_mean_
    3.0
    >>> bool(model.predict(2, 0) > model.predict(2, 1))
    True
    """

    def __init__(
        self,
        factors: int = 64,
        regularization: Auto | float | tuple[float, float] = "auto",
        biases: bool = True,
        regularization_exponent: float = 1.0,
        iterations: int = 15,
        nonnegative: bool = False,
        solver: Solver = "auto",
        dtype: FloatType = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
        feature_regularization: float | tuple[float, float] = 1.0,
        implicit_features: bool = False,
    ):
        self.factors = factors
        self.regularization = regularization
        self.biases = biases
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.nonnegative = nonnegative
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state
        self.feature_regularization = feature_regularization
        self.implicit_features = implicit_features

    def _check_table(self, name: str, R: Any, columns: Mapping[str, Any]) -> None:
        """Refuse a table whose rows would all count 1; weights of kinds of events can be ratings too."""
        if not is_frame(R) or columns.get("user") is None or columns.get("item") is None:
            return  # `as_interactions` says how a table is passed
        if columns.get("value") is None and columns.get("event_weights") is None:
            names = ", ".join(map(repr, column_names(R) or []))
            raise ValueError(f"value= is missing: ExplicitALS learns ratings; name their column. {name} has {names}")

    def _read(self, call: Call, dtype: np.dtype) -> tuple[Interactions, Any, Objective, Any]:
        read = super()._read(call, dtype)
        tell_of_sums(read[0])
        return read

    def _objective(self, R: Interactions | None = None) -> Objective:
        exponent = check_number("regularization_exponent", self.regularization_exponent, 0.0)
        ridges = (0.0, 0.0)
        if not is_auto("regularization", self.regularization):
            ridges = check_regularization(self.regularization)
        elif R is not None:
            ridges = defaults.of_ratings(R, exponent)
        return Objective(
            constant=1.0,
            slope=0.0,
            sign_target=0.0,
            value_target=1.0,
            regularization=ridges,
            regularization_exponent=exponent,
            biases=check_flag("biases", self.biases),
            nonnegative=check_flag("nonnegative", self.nonnegative),
            feature_regularization=check_feature_regularization(self.feature_regularization),
            implicit_features=check_flag("implicit_features", self.implicit_features),
        )


class WeightedALS(_ALS):
    """Factorise values with a weight for each observed entry and a smaller one for unobserved entries (weighted ALS).

    Parameters
    ----------
    factors : int, default 64
        Number of factors of a user and of an item.
    regularization : float or (float, float), default 0.1
        For users and items, or (user, item).
    item_weights : LinearWeights, ExponentialWeights, callable counts -> weights, array of shape (n_items,), optional
        Factor of the weight of each observed entry of an item; None: 1.
    unobserved_weight : float, default 0.0
        Weight of unobserved entries, whose target is 0. 1 without `item_weights` is plain regularized ALS on the full
        matrix.
    popularity_exponent, regularization_exponent, regularization_counts, iterations, nonnegative
        As in `ImplicitALS`.
    solver, dtype, tol, n_threads, random_state, feature_regularization, biases
        As in `ImplicitALS`.

    Attributes
    ----------
    user_factors_, item_factors_, loss_history_, n_iter_, regularization_
        As in `ImplicitALS`.
    user_biases_, item_biases_, global_mean_
        With `biases` only. The mean is that of the values where unobserved entries have no weight, and 0 else.

    Notes
    -----
    Every stored entry is observed, a stored 0 too; in dense input NaN marks unobserved entries. Minimises

        sum_{stored} W_ui (r - x_u.y_i)^2 + sum_{others} unobserved_weight p_i (x_u.y_i)^2
            + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2 ,      W_ui = item weight of i * weight of the entry

    Examples
    --------
    >>> import fastals
    >>> ratings = [(0, 0, 5.0), (0, 1, 1.0), (1, 0, 4.0), (2, 1, 2.0)]
    >>> model = fastals.WeightedALS(2, item_weights=fastals.LinearWeights(), random_state=0).fit(ratings)
    >>> model.item_factors_.shape
    (2, 2)
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
        regularization_counts: RegularizationCounts = "all",
        nonnegative: bool = False,
        solver: Solver = "auto",
        dtype: FloatType = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
        feature_regularization: float | tuple[float, float] = 1.0,
        biases: bool = False,
    ):
        self.factors = factors
        self.regularization = regularization
        self.item_weights = item_weights
        self.unobserved_weight = unobserved_weight
        self.popularity_exponent = popularity_exponent
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.regularization_counts = regularization_counts
        self.nonnegative = nonnegative
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state
        self.feature_regularization = feature_regularization
        self.biases = biases

    def _objective(self, R: Interactions | None = None) -> Objective:
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
            biases=check_flag("biases", self.biases),
            nonnegative=check_flag("nonnegative", self.nonnegative),
            regularization_counts=check_option("regularization_counts", self.regularization_counts, COUNTED),
            feature_regularization=check_feature_regularization(self.feature_regularization),
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
        The fitted model. Its predictions and folded-in factors are equal to the bit to those of the saved model. A
        saved model of a subclass is loaded as the class it derives from.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it is not a fastals model, damaged, or of a newer format.

    Examples
    --------
    >>> import fastals, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (1, 1, 1)]).save(path)
    >>> fastals.load(path).n_iter_
    15
    """
    return read_model(path, MODELS)


def warmup(dtype: FloatType = "float32") -> None:
    """Compile the code for fits, fold-in and recommendations of `dtype`, or load it from the disk cache.

    Call `warmup` before serving, or once while an image is built. Otherwise the first fit of a process waits for the
    compilation. The code for users or items with more than 262,144 interactions is compiled when the first one comes.

    Parameters
    ----------
    dtype : {'float32', 'float64'}, default 'float32'

    Raises
    ------
    ValueError
        The dtype is another one.

    Examples
    --------
    >>> import fastals
    >>> fastals.warmup("float32")
    """
    cells = Interactions(np.eye(3), check_dtype("dtype", dtype))
    model = ImplicitALS(factors=2, iterations=1, dtype=dtype, random_state=0).fit(cells)
    model.loss(cells)
    model.recommend(0, n=1)
    # A row with so many entries and factors exceeds the CPU's caches, which takes another kernel.
    model.set_params(factors=256).fit(Interactions(np.ones((2, 2000)), cells.dtype))
