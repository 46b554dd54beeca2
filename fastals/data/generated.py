"""Generated ratings with a planted structure."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..validation import check_integer, check_random_state
from .events import Events
from .ids import Ids
from .interactions import Interactions

# Pairs in one gather of planted factors: 1 million of 16 factors in float64 are 128 MB for each side.
_AFFINITY_ROWS = 1_000_000
# Draws with replacement before the exact race takes over. With MovieLens 20M's shape eight rounds leave 4% of the
# users short; three would leave 18% and cost half as much again, as a race costs 0.5 ms a user.
_DRAW_ROUNDS = 8


def synthetic(
    n_users: int,
    n_items: int,
    n_cells: int,
    rank: int = 16,
    exponent: tuple[float, float] = (0.8, 2.0),
    random_state: Any = 0,
) -> Interactions:
    r"""Generate ratings with a planted low-rank structure and power-law degrees on both sides.

    Parameters
    ----------
    n_users, n_items : int
        The shape.
    n_cells : int
        The number of ratings, from `n_users` to `n_users * n_items`.
    rank : int, default 16
        The rank of the planted structure.
    exponent : pair of float, default (0.8, 2.0)
        The exponents of the power laws of users and of items, from 0 (all alike) to 10. The default follows
        MovieLens 20M.
    random_state : int, numpy.random.Generator or None, default 0
        The seed. The same seed gives the same bits (with the same NumPy, on the same kind of machine).

    Returns
    -------
    Interactions
        Exactly `n_cells` distinct interactions, at least one for every user; an unpopular item may have none. Values
        are the whole numbers 1 to 5. Times are integers that rise strictly down the rows; the rows stand in random
        order. Ids are the numbers.

    Raises
    ------
    TypeError, ValueError
        A count is not an integer, or an argument is out of its range.

    Notes
    -----
    User `u` has a taste :math:`\theta_u` (Dirichlet(1/2), `rank` shares that add up to 1), item `i` an appeal
    :math:`a_i` (`rank` times Dirichlet(1), mean 1) and a popularity :math:`\pi_i`. The user picks items one after
    another without replacement, each with a probability in proportion to

    .. math:: \pi_i \, \theta_u^\top a_i ,

    a matrix of rank `rank`. The rating is :math:`\theta_u^\top a_i`, standardised over all cells, times 0.8, plus 3.5,
    plus normal noise of standard deviation 0.6, rounded and clipped to 1 to 5.

    Popularity and the users' degrees follow the Zipf-Mandelbrot law: the one at the share `x` of the ranking, in random
    order of the ids, weighs :math:`(x + q)^{-s}`, where `s` is the exponent and `q` is 1/1000 for users and 1/90 for
    items. A user's degree is 1 plus a share of the remaining cells in proportion to its weight, limited by the number
    of items; an item's degree comes from the draws. 138,000 x 27,000 with 20 million cells takes 25 s and 1 GB, with
    39 to 9,627 cells a user (median 68) and 6 to 40,520 an item (median 68).

    Examples
    --------
    >>> from fastals.data import synthetic
    >>> synthetic(100, 50, 1000)
    Interactions(100 users x 50 items, 1000 events, float32)
    """
    for name, count in (("n_users", n_users), ("n_items", n_items), ("n_cells", n_cells), ("rank", rank)):
        check_integer(name, count, 1)
    if not n_users <= n_cells <= n_users * n_items:
        raise ValueError(
            f"n_cells must be from n_users to n_users * n_items, {n_users} to {n_users * n_items}, got {n_cells}"
        )
    if len(exponent) != 2 or not all(0 <= value <= 10 for value in exponent):
        raise ValueError(f"exponent must be two numbers from 0 to 10, for users and for items, got {exponent}")
    rng = check_random_state("random_state", random_state)
    degrees = rng.permutation(_share_out(_zipf_mandelbrot(n_users, exponent[0], 1 / 1000), n_cells, n_items))
    popularity = rng.permutation(_zipf_mandelbrot(n_items, exponent[1], 1 / 90))
    tastes = rng.dirichlet(np.full(rank, 0.5), size=n_users)
    appeals = rank * rng.dirichlet(np.ones(rank), size=n_items)
    cells = rng.permutation(_draw_cells(degrees, tastes, popularity[:, None] * appeals, rng))
    users, items = (codes.astype(np.int32) for codes in np.divmod(cells, n_items))
    affinity = _affinity(users, items, tastes, appeals)
    spread = affinity.std() or np.float32(1)  # rank 1: every affinity is 1
    affinity = 3.5 + 0.8 * (affinity - affinity.mean()) / spread
    affinity += 0.6 * rng.standard_normal(n_cells, dtype=np.float32)
    times = 1_000_000_000 + np.cumsum(rng.integers(1, 60, size=n_cells))
    events = Events(users, items, np.clip(np.rint(affinity), 1, 5).astype(np.float32), times)
    ids = Ids("users", np.arange(n_users)), Ids("items", np.arange(n_items))
    return Interactions._make((n_users, n_items), events.values.dtype, *ids, events=events)


def _zipf_mandelbrot(n: int, exponent: float, offset: float) -> np.ndarray:
    """Weights in descending order."""
    return ((np.arange(n) + 0.5) / n + offset) ** -exponent


def _share_out(weights: np.ndarray, n_cells: int, limit: int) -> np.ndarray:
    """Whole degrees from 1 to `limit`, beyond the first cell in proportion to the weights, that add up to `n_cells`."""
    spare, room = n_cells - weights.size, limit - 1

    import scipy.optimize  # here, as it takes a tenth of a second that other uses of this package do not need

    def excess(scale: float) -> float:
        return np.minimum(scale * weights, room).sum() - spare

    full = (room + 1) / weights.min()
    shares = np.minimum(scipy.optimize.bisect(excess, 0, full, xtol=1e-300, rtol=1e-14, maxiter=1000) * weights, room)
    degrees = np.floor(shares).astype(np.int64)
    # Largest remainders: a share at the limit has none, and so never passes it.
    rest = spare - int(degrees.sum())
    degrees[np.argsort(degrees - shares, kind="stable")[:rest]] += 1
    return degrees + 1


def _draw_cells(degrees: np.ndarray, tastes: np.ndarray, appeals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each user's items without replacement, with probabilities in proportion to `tastes @ appeals.T`.

    Repeated draws with replacement that drop what the user has already are draws without replacement. They are cheap
    until little is left to a user; from there an exponential race over all remaining items gives the same
    distribution (Efraimidis and Spirakis 2006).

    Returns
    -------
    int64 array
        `user * n_items + item` of each cell, ascending.
    """
    n_users, n_items = degrees.size, appeals.shape[0]
    by_topic = np.ascontiguousarray(appeals.T)
    topic_shares = tastes * by_topic.sum(axis=1)
    topic_shares /= topic_shares.sum(axis=1, keepdims=True)
    cumulative = np.cumsum(by_topic, axis=1)
    cumulative /= cumulative[:, -1:]
    cells = np.empty(0, dtype=np.int64)
    held = np.zeros(n_users, dtype=np.int64)
    for _ in range(_DRAW_ROUNDS):
        per_topic = rng.multinomial(degrees - held, topic_shares).T
        parts = [cells]
        for counts, distribution in zip(per_topic, cumulative, strict=True):
            users = np.repeat(np.arange(n_users), counts)
            parts.append(users * n_items + np.searchsorted(distribution, rng.random(users.size), side="right"))
        # A sort, since the hash table of np.unique takes 26 s for 20 million cells where this takes 0.4 s.
        drawn = np.sort(np.concatenate(parts))
        cells = drawn[np.diff(drawn, prepend=-1) > 0]
        held = np.bincount(cells // n_items, minlength=n_users)
    ends = np.cumsum(held)
    raced = []
    for user in np.flatnonzero(held < degrees):
        chances = np.einsum("z,zi->i", tastes[user], by_topic)
        finish = rng.standard_exponential(n_items) / chances
        finish[cells[ends[user] - held[user] : ends[user]] - user * n_items] = np.inf
        missing = degrees[user] - held[user]
        raced.append(user * n_items + np.argpartition(finish, missing - 1)[:missing])
    return np.sort(np.concatenate([cells, *raced]))


def _affinity(users: np.ndarray, items: np.ndarray, tastes: np.ndarray, appeals: np.ndarray) -> np.ndarray:
    """Compute the inner product of each cell's two factors, float32."""
    tastes, appeals = tastes.astype(np.float32), appeals.astype(np.float32)
    result = np.empty(users.size, dtype=np.float32)
    for start in range(0, users.size, _AFFINITY_ROWS):
        rows = slice(start, start + _AFFINITY_ROWS)
        np.einsum("nz,nz->n", tastes[users[rows]], appeals[items[rows]], out=result[rows])
    return result
