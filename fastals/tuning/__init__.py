"""Searches for the parameters of a model."""

from .candidates import sample_candidates
from .search import SearchResult
from .searches import grid_search, random_search, successive_halving

__all__ = ["SearchResult", "grid_search", "random_search", "sample_candidates", "successive_halving"]
