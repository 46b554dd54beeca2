"""Users x items data: the one container, its ids and events, readers, generated data and splits.

The names are those of `fastals.datasets`. They are loaded when the first of them is used, so that importing `fastals`
does not wait for what only some need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..datasets import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):  # a look for `__wrapped__`, as doctest has it, imports nothing
        from .. import datasets

        if name in datasets.__all__:
            return getattr(datasets, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from .. import datasets

    return [*globals(), *datasets.__all__]
