"""Users x items data, public data sets, readers of files, generated ratings, and splits into train and test."""

from .data.downloads import data_home
from .data.fetch import fetch_lastfm, fetch_movielens
from .data.generated import synthetic
from .data.ids import Ids
from .data.interactions import Interactions, as_interactions
from .data.published import SampledCases, read_negatives, read_titles
from .data.readers import read_ratings, read_split
from .data.splits import (
    NewUsers,
    k_core,
    rolling_windows,
    split_at_time,
    split_by_time,
    split_each_user,
    split_folds,
    split_leave_last_out,
    split_new_users,
    split_random,
    split_user_folds,
    without_known,
)
from .data.types import Columns, MatrixLike

__all__ = [
    "Columns",
    "Ids",
    "Interactions",
    "MatrixLike",
    "NewUsers",
    "SampledCases",
    "as_interactions",
    "data_home",
    "fetch_lastfm",
    "fetch_movielens",
    "k_core",
    "read_negatives",
    "read_ratings",
    "read_split",
    "read_titles",
    "rolling_windows",
    "split_at_time",
    "split_by_time",
    "split_each_user",
    "split_folds",
    "split_leave_last_out",
    "split_new_users",
    "split_random",
    "split_user_folds",
    "synthetic",
    "without_known",
]
