"""Public data sets, readers of files, generated ratings, and splits into train and test: names of `fastals.data`."""

from .data.container import Interactions
from .data.downloads import data_home
from .data.fetch import fetch_lastfm, fetch_movielens
from .data.published import SampledCases, read_negatives, read_titles
from .data.readers import read_ratings, read_split
from .data.splits import NewUsers, split_by_time, split_leave_last_out, split_new_users, split_random
from .data.synthetic import synthetic

__all__ = [
    "Interactions",
    "NewUsers",
    "SampledCases",
    "data_home",
    "fetch_lastfm",
    "fetch_movielens",
    "read_negatives",
    "read_ratings",
    "read_split",
    "read_titles",
    "split_by_time",
    "split_leave_last_out",
    "split_new_users",
    "split_random",
    "synthetic",
]
