"""fastals: alternating least squares for recommender systems, exact and fast, on the CPU."""

from .data.interactions import Interactions
from .estimators import ExplicitALS, ImplicitALS, WeightedALS, load, warmup
from .objectives import ExponentialWeights, LinearWeights
from .validation import NotFittedError

__version__ = "0.1.0"

__all__ = [
    "ExplicitALS",
    "ExponentialWeights",
    "ImplicitALS",
    "Interactions",
    "LinearWeights",
    "NotFittedError",
    "WeightedALS",
    "load",
    "warmup",
]
