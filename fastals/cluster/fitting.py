"""Fit a model with the rows of both sides on the workers of a Dask cluster."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..base import Base, Call, Callback
from ..data.store import open_store
from ..data.types import Columns, MatrixLike
from .rows import Rows
from .workers import Workers

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..models import ExplicitALS, ImplicitALS, WeightedALS

    Model = TypeVar("Model", ImplicitALS, ExplicitALS, WeightedALS)


def fit(
    model: Model,
    R: MatrixLike | str | os.PathLike[str],
    *,
    client: Any = None,
    weights: MatrixLike | None = None,
    user_features: Any = None,
    item_features: Any = None,
    callback: Callback | None = None,
    progress: bool = False,
    start: Base | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    checkpoint_errors: str = "raise",
    **columns: Unpack[Columns],
) -> Model:
    """Fit a model on the workers of a Dask cluster, to the same bits as `model.fit` in one process.

    It is worth it only on several machines: on one, `model.fit` uses all threads and sends nothing.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS or WeightedALS
        Fitted in place. Its `n_threads` is that of this process; each worker uses as many threads as it has.
    R : as in `model.fit`, or path
        A path is that of a store (see `fastals.build_store`). A worker reads the rows of a store from its files if
        it sees the folder under the same path; all else is sent from this process. A Dask frame is computed here first.
    client : distributed.Client, optional
        The cluster's. By default the one that was made last in this process.
    weights, user_features, item_features
        As in `model.fit`. Dask frames are computed here first.
    callback, progress, start, checkpoint, checkpoint_every, checkpoint_errors, **columns
        As in `model.fit`.

    Returns
    -------
    model

    Raises
    ------
    ImportError
        Dask is not installed.
    ValueError, TypeError
        As `model.fit`; a worker has another version of fastals, NumPy or Numba, or other vector instructions; the
        solver is "plain".
    OSError
        No scheduler answers, or it has no workers.
    RuntimeError
        Five workers in turn were lost at the same work.

    Notes
    -----
    This process holds the factors of both sides, computes Gram matrices and rotations, and learns what features say. In
    each half-step every worker is sent the factors of the other side for which its users or items have interactions,
    those that its own start from, and those that their features say. From 256 factors on it may also be sent a linear
    term of each of its users or items, which is as large as their factors. It returns their new factors. If a worker is
    lost, the others do its part. Users and items are shared out anew among the workers that are there when a half-step
    begins.

    Examples
    --------
    >>> import fastals
    >>> from distributed import Client, LocalCluster  # here only to show it: on one machine, use model.fit
    >>> with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as local, Client(local) as client:
    ...     model = fastals.cluster.fit(fastals.ImplicitALS(2, random_state=0), [(0, 0, 1), (1, 1, 1)], client=client)
    >>> model.user_factors_.shape
    (2, 2)
    """
    if not isinstance(model, Base):
        raise TypeError(f"model must be ImplicitALS, ExplicitALS or WeightedALS, got {type(model).__name__}")
    if getattr(model, "nonnegative", False):
        raise ValueError("nonnegative=True is solved in one process: use model.fit, or nonnegative=False")
    if model._plain:
        raise ValueError("the plain engine runs in one process: use model.fit, or another solver than 'plain'")
    with Workers(client) as workers:
        data = workers.computed(open_store(R) if isinstance(R, (str, os.PathLike)) else R)
        features = workers.computed(user_features), workers.computed(item_features)
        files = checkpoint, checkpoint_every, checkpoint_errors
        call = Call(data, weights, features, columns, callback, progress, start, files)
        return model._fit(call, partial(Rows, workers))
