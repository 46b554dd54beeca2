"""Users x items data: the one container, its ids and events, readers, generated data and splits.

Names are loaded when they are first used, so that importing this package costs no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .container import Interactions as Interactions
    from .downloads import data_home as data_home
    from .fetch import fetch_lastfm as fetch_lastfm
    from .fetch import fetch_movielens as fetch_movielens
    from .ids import Ids as Ids
    from .interactions import as_interactions as as_interactions
    from .published import SampledCases as SampledCases
    from .published import read_negatives as read_negatives
    from .published import read_titles as read_titles
    from .readers import read_ratings as read_ratings
    from .readers import read_split as read_split
    from .splits import NewUsers as NewUsers
    from .splits import split_by_time as split_by_time
    from .splits import split_leave_last_out as split_leave_last_out
    from .splits import split_new_users as split_new_users
    from .splits import split_random as split_random
    from .synthetic import synthetic as synthetic
    from .types import Columns as Columns
    from .types import MatrixLike as MatrixLike

_HOMES = {
    "container": ("Interactions",),
    "downloads": ("data_home",),
    "fetch": ("fetch_lastfm", "fetch_movielens"),
    "ids": ("Ids",),
    "interactions": ("as_interactions",),
    "published": ("SampledCases", "read_negatives", "read_titles"),
    "readers": ("read_ratings", "read_split"),
    "splits": ("NewUsers", "split_by_time", "split_leave_last_out", "split_new_users", "split_random"),
    "synthetic": ("synthetic",),
    "types": ("Columns", "MatrixLike"),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
