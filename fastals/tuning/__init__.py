"""Searches for the parameters of a model."""

from .candidates import sample_candidates
from .pruning import PruningCallback
from .search import SearchResult
from .searches import grid_search, random_search, successive_halving
from .spaces import optuna_space

__all__ = [
    "PruningCallback",
    "SearchResult",
    "grid_search",
    "optuna_space",
    "random_search",
    "sample_candidates",
    "successive_halving",
]
