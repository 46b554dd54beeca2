"""Both sides of a factorisation, as a fit has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .features import Prior
from .problem import RowProblem


class Model(NamedTuple):
    """The row problems of both sides, and the panels that a fit overwrites."""

    users: RowProblem
    items: RowProblem
    X: np.ndarray  # T (n_users, kp)
    Y: np.ndarray  # T (n_items, kp)
    width: int  # columns in use: the factors, then the bias if there is one
    bias: int  # column of the bias, -1 if there is none
    priors: Mapping[str, Prior] = {}  # by side: what the features of its rows say, where they have some
