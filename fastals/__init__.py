"""fastals: alternating least squares for recommender systems, exact and fast, on the CPU."""

import importlib
from typing import TYPE_CHECKING, Any

from .data.encoder import FeatureEncoder
from .data.interactions import Interactions
from .models import ExplicitALS, ImplicitALS, WeightedALS, load, warmup
from .objectives import ExponentialWeights, LinearWeights
from .validation import NotFittedError

if TYPE_CHECKING:
    from . import cluster as cluster
    from . import compat as compat
    from . import data as data
    from . import datasets as datasets
    from . import evaluation as evaluation
    from . import plots as plots
    from . import tuning as tuning
    from .data.build import append_store as append_store
    from .data.build import build_store as build_store
    from .data.build import merge_store as merge_store
    from .data.store import open_store as open_store
    from .data.tables import read_table as read_table

__version__ = "0.1.0"

__all__ = [
    "ExplicitALS",
    "ExponentialWeights",
    "FeatureEncoder",
    "ImplicitALS",
    "Interactions",
    "LinearWeights",
    "NotFittedError",
    "WeightedALS",
    "append_store",
    "build_store",
    "load",
    "merge_store",
    "open_store",
    "read_table",
    "warmup",
]

SUBMODULES = ("cluster", "compat", "data", "datasets", "evaluation", "plots", "tuning")
# Functions that not every program needs, by the module that has them.
LATER = {
    "append_store": "data.build",
    "build_store": "data.build",
    "merge_store": "data.build",
    "open_store": "data.store",
    "read_table": "data.tables",
}


def __getattr__(name: str) -> Any:
    """Import a public submodule or function when it is first used, so that `import fastals` stays fast."""
    if name in SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in LATER:
        return getattr(importlib.import_module(f"{__name__}.{LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *SUBMODULES, *LATER})
