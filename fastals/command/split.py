"""How `fastals evaluate` and `fastals tune` hold out a part of a file."""

from __future__ import annotations

import argparse

from ..data.interactions import Interactions
from ..data.splits import split_by_time, without_known
from ..evaluation import UserFolds
from .options import Options, integer, number


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add how to split, and how long lists are."""
    group = parser.add_argument_group("what is held out")
    group.add_argument(
        "--split",
        choices=("user", "time"),
        default="user",
        help="user: a share of each user's items, at random (default); time: the latest events, which needs --time",
    )
    group.add_argument("--test-share", type=number, default=0.2, metavar="NUMBER", help="how much; default 0.2")
    group.add_argument("-k", type=integer, default=10, metavar="INTEGER", help="length of a list; default 10")


def held_out(data: Interactions, options: Options) -> tuple[Interactions, Interactions, str]:
    """Return what to learn from, what to test on, and a sentence about it."""
    share = options.test_share
    if not 0 < share <= 0.5:
        raise ValueError(f"--test-share must be above 0 and at most 0.5, got {share:g}")
    implicit = options.model == "implicit"
    if options.split == "time":
        if data.times is None:
            raise ValueError("--split time needs times: name their column with --time, or use --split user")
        train, test = split_by_time(data, share)
        how = f"The latest {share:.0%} of the events are held out."
    else:
        # One entry for each user and item: what is held out must not be in the other part too.
        data = Interactions(data.matrix(), user_ids=data.user_ids, item_ids=data.item_ids) if implicit else data
        seed = 0 if options.random_state is None else options.random_state
        train_rows, test_rows = next(UserFolds(round(1 / share), random_state=seed).split(data))
        train, test = data.select(train_rows), data.select(test_rows)
        how = f"One in {round(1 / share)} of each user's items is held out at random."
    if implicit:
        test = without_known(test.select(test.values > 0), train)
        how += " Held-out items that the user has in the other part do not count."
    if not len(train) or not len(test):
        raise ValueError(
            f"nothing is left to {'test on' if len(train) else 'learn from'}: the file is too small to split"
        )
    return train, test, how
