"""Evaluate any object with `recommend` or `predict`: by lists, for new users, among samples, by ratings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..data.interactions import MatrixLike
from ..data.types import Columns
from ..validation import Unknown, check_clip, check_ids, check_option, check_unknown
from .bootstrap import Evaluation
from .lists import Evaluator, ListMetric, check_cutoffs, check_disjoint, check_metrics, in_order, mean
from .metrics import RANKING_METRICS, RATING_METRICS, Floats, Hits, RankingMetric, RatingMetric
from .protocols import NewUserRecommender, Numbered, RatingPredictor, Recommender, named

if TYPE_CHECKING:
    from typing_extensions import Unpack


def evaluate(
    model: Recommender,
    test: MatrixLike,
    k: int | Iterable[int] = 10,
    metrics: Iterable[ListMetric] = ("recall", "ndcg"),
    *,
    train: MatrixLike | None = None,
    users: npt.ArrayLike | None = None,
    block_size: int = 4096,
    unknown: Unknown = "raise",
    **columns: Unpack[Columns],
) -> Evaluation:
    """Recommend to users and measure the lists against held-out interactions.

    It works block by block, so memory does not grow with users times items.

    Parameters
    ----------
    model : fitted model, baseline or any `Recommender`
        It must leave out what users have.
    test : (n_users, n_items) sparse matrix, dense array, Interactions or frame
        Every stored value other than 0 is a relevant item. If it and the model have ids, rows and columns may come in
        any order, and users and items without test interactions may be absent. Else rows and columns are those of fit.
    k : int or iterable of int, default 10
        Lengths of the lists; all are measured in one pass.
    metrics : iterable of str
        Names from `RANKING_METRICS`, and "graded_ndcg", "novelty", "coverage", "gini".
    train : as `test`, optional
        The training interactions. "novelty" needs them, and "auc" then does not count them as irrelevant. Test
        interactions that are in `train` too can never be found: it is an error if all are, a warning if some are.
        Without `train`, the same holds for what a model of fastals was fitted on.
    users : (n,) array of ids, optional
        The users to evaluate; by default everybody with a relevant item. Users without one are left out. Row numbers,
        or the ids that the model was fitted on.
    block_size : int, default 4096
        Users at once.
    unknown : {'raise', 'ignore'}, default 'raise'
        What to do with ids of `test` and `train` that the model does not have: raise, or leave their interactions out.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if `test` and `train` are frames.

    Returns
    -------
    Evaluation
        With keys such as "recall@10".

    Raises
    ------
    TypeError, ValueError
        `test` is empty, or contained in `train` or in what the model was fitted on; a metric is unknown; a cutoff is no
        integer or below 1; shapes do not fit; the model lists training interactions, or does not have an id of `test`.

    Notes
    -----
    Over the lists of length k of all evaluated users, with `e_i` the number of lists that hold item i and `f_i` the
    number of users who have it in `train`:

    - graded_ndcg: ndcg in which the gain of an item is its value in `test`; see `graded_ndcg`;
    - novelty: ``-log2(max(f_i, 1) / n_users)``, averaged over a user's listed items, then over users (Zhou et al. 2010,
      "self-information"); NaN for an empty list;
    - coverage: share of the items with ``e_i > 0``;
    - gini: ``sum_i (2 i - n_items - 1) e_(i) / (n_items sum_i e_i)``, ``e_(i)`` ascending and i from 1: 0 if all items
      are shown equally often, near 1 if few are always shown.

    Examples
    --------
    >>> from fastals.evaluation import Popularity, evaluate
    >>> train, test = [[1, 0, 0], [1, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    >>> evaluate(Popularity().fit(train), test, k=[1, 2], metrics=["recall"]).overall
    {'recall@1': 0.6666666666666666, 'recall@2': 1.0}
    """
    numbered = Numbered(model, "recommend")
    relevant = numbered.read("test", test, unknown=check_unknown(unknown), **columns)
    known = None
    if train is not None:
        known = numbered.read("train", train, unknown=unknown, **columns)
        known = in_order("train", known, like=(relevant.user_ids, relevant.item_ids), of="test")
    numbered.check_shape("test", relevant)
    evaluator = Evaluator(relevant, k, metrics, known)
    if known is not None:
        check_disjoint("test", relevant, "train", known)
    elif (fitted_on := numbered.known()) is not None:
        check_disjoint("test", relevant, "what the model was fitted on", fitted_on)
    chosen, user_ids = None, numbered.ids[0]
    if users is not None:
        n_users = relevant.shape[0]
        chosen = check_ids("users", users, n_users) if user_ids is None else user_ids.positions("users", users)
    found = evaluator.run(numbered.recommend, block_size=block_size, users=chosen)
    return replace(found, users=named(user_ids, found.users))


def evaluate_new_users(
    model: NewUserRecommender,
    given: MatrixLike,
    test: MatrixLike,
    k: int | Iterable[int] = 20,
    metrics: Iterable[ListMetric] = ("capped_recall", "ndcg"),
    *,
    block_size: int = 4096,
    **columns: Unpack[Columns],
) -> Evaluation:
    """Evaluate on users whom the model has not seen (strong generalisation).

    Each new user is folded in from one part of the interactions. The other part is what the lists should hold.

    Parameters
    ----------
    model : fitted ImplicitALS, ExplicitALS or WeightedALS
    given : (n_new, n_items) sparse matrix, dense array, Interactions or frame
        The interactions to fold the users in from, which their lists leave out. If it and the model have item ids,
        columns may come in any order.
    test : (n_new, n_items) sparse matrix, dense array, Interactions or frame
        Every stored value other than 0 is a relevant item. Row r is the user of row r of `given`, or the user of the
        same id if both have user ids. Items as in `given`.
    k, metrics, block_size, **columns
        As in `evaluate`. The recall of Liang et al. is "capped_recall": they divide by ``min(k, n_relevant)``.

    Returns
    -------
    Evaluation
        `users` are rows of `given`. "novelty" counts the users of `given`.

    Raises
    ------
    ValueError, TypeError
        As in `evaluate`; `test` has an interaction that `given` has too.

    References
    ----------
    Liang, Krishnan, Hoffman, Jebara: Variational autoencoders for collaborative filtering. WWW 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals import ImplicitALS
    >>> from fastals.evaluation import evaluate_new_users
    >>> model = ImplicitALS(factors=1, random_state=0).fit(np.kron(np.eye(2), np.ones((3, 3))))
    >>> given, test = [[1, 0, 0, 0, 0, 0]], [[0, 1, 1, 0, 0, 0]]
    >>> found = evaluate_new_users(model, given, test, k=5, metrics=["recall"])
    >>> found.overall
    {'recall@5': 1.0}
    """
    numbered = Numbered(model, "recommend")
    numbered.check_table("given", given, columns)
    known = numbered.read("given", given, new_users=True, **columns)
    relevant = numbered.read("test", test, new_users=True, **columns)
    relevant = in_order("test", relevant, like=(known.user_ids, known.item_ids), of="given")
    if known.shape != relevant.shape:
        raise ValueError(f"given has shape {known.shape} and test {relevant.shape}: both must have one shape")
    both = (known.csr != 0).multiply(relevant.csr != 0).tocoo()
    if both.nnz:
        raise ValueError(
            f"test has item {both.col[0]} of row {both.row[0]}, which given has too, so it cannot be found: "
            "leave it out of one of them"
        )
    matrix = known.csr
    evaluator = Evaluator(relevant, k, metrics, known)
    return evaluator.run(lambda rows, n: numbered.recommend_new(matrix[rows], n), block_size=block_size)


def evaluate_sampled(
    model: RatingPredictor,
    users: npt.ArrayLike,
    items: npt.ArrayLike,
    negatives: npt.ArrayLike,
    k: int | Iterable[int] = 10,
    metrics: Iterable[RankingMetric] = ("hit_rate", "ndcg"),
) -> Evaluation:
    """Rank one held-out item of each user among sampled items that the user does not have.

    Parameters
    ----------
    model : fitted model, baseline or any `RatingPredictor`
    users, items : (n,) arrays of ids
        In case c, ``items[c]`` of user ``users[c]`` was held out. Row and column numbers, or the ids that the model was
        fitted on.
    negatives : (n, n_negatives) array of ids
        The items among which the held-out one is ranked; He et al. use 99 or 100 a user.
    k : int or iterable of int, default 10
        Cutoffs.
    metrics : iterable of str
        Names from `RANKING_METRICS`.

    Returns
    -------
    Evaluation
        `users` are those of the cases.

    Raises
    ------
    ValueError
        There is no case, arrays do not fit, ids are out of range, or a held-out item is among its negatives; else as in
        `evaluate`.

    Notes
    -----
    A tie counts against the model: the held-out item is placed below every negative with the same score. So a model
    that cannot tell items apart finds none. Ranks among a sample are not ranks among all items, and may order models
    differently (Krichene & Rendle 2020).

    References
    ----------
    He, Liao, Zhang, Nie, Hu, Chua: Neural collaborative filtering. WWW 2017.

    Examples
    --------
    >>> from fastals.evaluation import Popularity, evaluate_sampled
    >>> model = Popularity().fit([[1, 1, 0], [1, 0, 0]])
    >>> evaluate_sampled(model, users=[0, 1], items=[1, 1], negatives=[[2], [0]], k=1).overall
    {'hit_rate@1': 0.5, 'ndcg@1': 0.5}
    """
    names, cutoffs = check_metrics(metrics, get_args(RankingMetric)), check_cutoffs(k)
    cases, held_out, others = np.asarray(users), np.asarray(items), np.asarray(negatives)
    if cases.ndim != 1 or cases.shape != held_out.shape or others.ndim != 2 or len(others) != len(cases):
        raise ValueError(
            f"users has shape {cases.shape}, items {held_out.shape} and negatives {others.shape}: "
            "pass arrays of shapes (n,), (n,) and (n, n_negatives)"
        )
    if not others.size:
        raise ValueError(f"negatives has shape {others.shape}: pass at least one case with one negative")
    among = np.argwhere(others == held_out[:, None])
    if among.size:
        case, place = among[0]
        raise ValueError(f"negatives[{case}, {place}] is item {held_out[case]}, which is held out of this very case")
    n_negatives = others.shape[1]
    numbered = Numbered(model, "predict")
    if numbered.shape is not None and numbered.ids[1] is None:
        n_items = numbered.shape[1]
        outside = np.argwhere((others < 0) | (others >= n_items))
        if outside.size:
            case, place = outside[0]
            raise ValueError(f"negatives[{case}, {place}] is {others[case, place]}: items run from 0 to {n_items - 1}")
    of_held_out = model.predict(cases, held_out)
    scores = model.predict(np.repeat(cases, n_negatives), others.ravel()).reshape(others.shape)
    places = np.count_nonzero(scores >= of_held_out[:, None], axis=1)
    one = np.ones(len(cases), dtype=np.int64)
    per_user: dict[str, Floats] = {}
    for cutoff in cutoffs:
        hit = np.arange(cutoff) == places[:, None]
        hits = Hits(hit, np.broadcast_to(np.arange(cutoff) <= n_negatives, hit.shape), one, one * n_negatives)
        per_user |= {f"{name}@{cutoff}": RANKING_METRICS[name](hits) for name in names}
    return Evaluation(cases, per_user, {name: mean(values) for name, values in per_user.items()})


def evaluate_ratings(
    model: RatingPredictor,
    test: MatrixLike,
    metrics: Iterable[RatingMetric] = ("rmse", "mae"),
    *,
    unknown: Literal["raise", "mean", "ignore"] = "raise",
    clip: tuple[float, float] | None = None,
    **columns: Unpack[Columns],
) -> dict[str, float]:
    """Predict every rating of `test` and measure the errors.

    Parameters
    ----------
    model : fitted model, baseline or any `RatingPredictor`
    test : (n_users, n_items) sparse matrix, dense array, Interactions or frame
        Every stored value is a rating, a stored 0 too; in a dense array NaN marks what is not rated. Ids as in
        `evaluate`.
    metrics : iterable of str
        Names from `RATING_METRICS`: "rmse", "mae", "sign_accuracy".
    unknown : {'raise', 'mean', 'ignore'}, default 'raise'
        What to do with ids of `test` that the model does not have: raise; predict as `predict(..., unknown="mean")`
        does; or leave their ratings out.
    clip : (float, float), optional
        Lowest and highest rating of the scale, such as (1, 5): predictions beyond are moved to them.
    **columns
        Names of columns, such as ``user="customer", item="film", value="stars"``, if `test` is a frame.

    Raises
    ------
    ValueError
        `test` is empty or not of the model's shape, a metric is unknown, or the model does not have an id of `test`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals.evaluation import GlobalMean, evaluate_ratings
    >>> model = GlobalMean().fit(np.array([[1.0, 3.0], [2.0, np.nan]]))
    >>> evaluate_ratings(model, np.array([[np.nan, np.nan], [np.nan, 4.0]]), metrics=["mae"])
    {'mae': 2.0}
    """
    names = check_metrics(metrics, get_args(RatingMetric))
    check_option("unknown", unknown, ("raise", "mean", "ignore"))
    limits = None if clip is None else check_clip("clip", clip)
    numbered = Numbered(model, "predict")
    numbered.check_table("test", test, columns)
    if unknown == "mean":
        ratings = in_order("test", test, "float64", missing="nan", **columns)
    else:
        ratings = numbered.read("test", test, "float64", missing="nan", unknown=unknown, **columns)
        numbered.check_shape("test", ratings)
    if not ratings.nnz:
        raise ValueError("test has no stored value: pass at least one rating")
    rows = ratings.by_user
    users = np.repeat(np.arange(ratings.shape[0]), np.diff(rows.indptr))
    if unknown == "mean":
        pairs = named(ratings.user_ids, users), named(ratings.item_ids, rows.indices)
        predicted = np.asarray(model.predict(*pairs, unknown="mean"))  # type: ignore[call-arg]
    else:
        predicted = numbered.predict(users, rows.indices)
    if limits is not None:
        predicted = np.clip(predicted, *limits)
    return {name: RATING_METRICS[name](rows.all_values, predicted) for name in names}
