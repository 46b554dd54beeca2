"""Combinations of parameters: all of a grid, or some drawn at random."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..validation import RandomState, check_integer, check_random_state, shown

Parameters: TypeAlias = dict[str, Any]
Grid: TypeAlias = Mapping[str, Sequence[Any]] | Sequence[Parameters]


class _Rvs(Protocol):
    """A distribution of `scipy.stats`."""

    def rvs(self, *, random_state: np.random.Generator) -> Any: ...


Distribution: TypeAlias = Sequence[Any] | _Rvs | Callable[[np.random.Generator], Any]


def sample_candidates(
    distributions: Mapping[str, Distribution], n_candidates: int = 20, random_state: RandomState = None
) -> list[Parameters]:
    """Draw combinations of parameters.

    Parameters
    ----------
    distributions : dict of str to sequence, scipy.stats distribution, or callable
        For each parameter: a sequence of values, each as likely as any other; an object with `rvs(random_state=)` such
        as ``scipy.stats.loguniform(1e-4, 1e-1)``; or a function that takes a numpy.random.Generator.
    n_candidates : int, default 20
        Number of combinations.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None

    Returns
    -------
    list of dict
        No combination twice. If the distributions have fewer combinations, all that were found.

    Raises
    ------
    TypeError
        A parameter has something that cannot be drawn from.

    Examples
    --------
    >>> from fastals.tuning import sample_candidates
    >>> found = sample_candidates({"factors": [16, 32], "alpha": lambda rng: rng.random()}, 3, random_state=0)
    >>> len(found), sorted(found[0])
    (3, ['alpha', 'factors'])
    """
    n_candidates = check_integer("n_candidates", n_candidates, 1)
    rng = check_random_state("random_state", random_state)
    found: dict[str, Parameters] = {}
    for _ in range(20 * n_candidates):  # if there are n_candidates combinations, 19 of 20 are met by then
        drawn = {name: _draw(name, distribution, rng) for name, distribution in distributions.items()}
        found.setdefault(canonical(drawn), drawn)
        if len(found) == n_candidates:
            break
    return list(found.values())


def _draw(name: str, distribution: Distribution, rng: np.random.Generator) -> Any:
    if hasattr(distribution, "rvs"):
        drawn = distribution.rvs(random_state=rng)
    elif callable(distribution):
        drawn = distribution(rng)
    elif isinstance(distribution, (Sequence, np.ndarray)) and not isinstance(distribution, str) and len(distribution):
        drawn = distribution[int(rng.integers(len(distribution)))]
    else:
        raise TypeError(
            f"distributions[{name!r}] must be a sequence of values, a scipy.stats distribution or a function of a "
            f"numpy.random.Generator, got {shown(distribution)}"
        )
    return drawn.item() if isinstance(drawn, (np.generic, np.ndarray)) and np.ndim(drawn) == 0 else drawn


def candidates_of(name: str, grid: Grid) -> list[Parameters]:
    """Return the combinations that `grid`, the argument called `name`, stands for."""
    if isinstance(grid, Mapping):
        for parameter, values in grid.items():
            if isinstance(values, (Sequence, np.ndarray)) and not isinstance(values, str):
                continue
            several = isinstance(values, Iterable) and not isinstance(values, str)
            remedy = "make a list of its values" if several else f"write [{shown(values)}]"
            raise TypeError(f"{name}[{parameter!r}] must be a sequence of values, got {shown(values)}: {remedy}")
        found = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    elif isinstance(grid, Sequence) and all(isinstance(candidate, Mapping) for candidate in grid):
        found = [dict(candidate) for candidate in grid]
    else:
        raise TypeError(
            f"{name} must be a dict with a sequence of values for each parameter, or a sequence of dicts, "
            f"got {shown(grid)}"
        )
    if not found:
        raise ValueError(f"{name} has no candidate: give each parameter at least one value")
    return found


def canonical(parameters: Mapping[str, Any]) -> str:
    """Return a text that is the same for equal parameters."""
    return json.dumps(dict(parameters), sort_keys=True, default=repr)
