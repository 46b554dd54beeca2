"""Recommend to many users on the workers of a Dask cluster, into Parquet files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ..answers import Framing
from ..places import beside
from ..validation import check_integer
from . import tasks
from .workers import ATTEMPTS, Place, Workers

BLOCK = 2**16  # users of a file


def recommend(
    model: Framing,
    folder: str | os.PathLike[str],
    n: int = 10,
    *,
    users: Any = None,
    client: Any = None,
    exclude_seen: bool = True,
    min_score: float | None = None,
    block_size: int = BLOCK,
) -> Path:
    """Write the recommendations for many users to Parquet files, computed on the workers of a Dask cluster.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS or WeightedALS
        Fitted. It is sent to each worker once, with its interactions.
    folder : path
        Where the files will be, `part-00000.parquet` and so on, in the order of the users. This process writes them.
    n : int, default 10
        Items for each user.
    users : array_like of ids, optional
        None: all.
    client : distributed.Client, optional
        The cluster's. By default the one that was made last in this process.
    exclude_seen, min_score
        As in `model.recommend`.
    block_size : int, default 65,536
        Users of a file; a worker computes one file at a time.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ImportError
        Dask or pyarrow is not installed, here or on a worker.
    FileExistsError
        `folder` is there.
    ValueError, TypeError, KeyError, OSError, RuntimeError
        As `fit`, and as `model.recommend`. Nothing is left in `folder` then.

    Notes
    -----
    A file has the columns user, rank, item and score of `model.recommend_frame`.

    Examples
    --------
    >>> import pathlib, tempfile, fastals
    >>> from distributed import Client, LocalCluster
    >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "lists")
    >>> with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as local, Client(local) as client:
    ...     _ = fastals.cluster.recommend(model, folder, n=1, client=client)
    >>> [path.name for path in folder.iterdir()]
    ['part-00000.parquet']
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("fastals.cluster.recommend needs pyarrow: pip install pyarrow") from error
    if not isinstance(model, Framing):
        raise TypeError(f"model must be ImplicitALS, ExplicitALS or WeightedALS, got {type(model).__name__}")
    size, folder = check_integer("block_size", block_size, 1), Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} is there: choose another folder, or delete it first")
    fitted = model._whole_state.users
    numbers = np.arange(len(fitted)) if users is None else fitted.numbers("users", users)
    partial = beside(folder)
    options = {"exclude_seen": exclude_seen, "min_score": min_score}
    with Workers(client) as workers:
        models: dict[str, Any] = {}

        def compute(place: Place) -> Any:
            there = models.get(place.worker)
            if there is None or there.status != "finished":
                there = models[place.worker] = workers.send(place.worker, model)
            ids = fitted.names(numbers[place.begin : place.end])
            return workers.answer(place.worker, tasks.recommend, there, ids, n, options, place.threads)

        partial.mkdir()
        try:
            todo, losses = [(begin, min(begin + size, len(numbers))) for begin in range(0, len(numbers), size)], 0
            while todo:
                places = [Place(*both[0], *both[1]) for both in zip(workers.there().items(), todo, strict=False)]
                todo = todo[len(places) :]
                for place, table, loss in workers.each(compute, places):
                    if loss is None:
                        parquet.write_table(table, partial / f"part-{place.begin // size:05}.parquet")
                        losses = 0
                        continue
                    todo.insert(0, (place.begin, place.end))
                    losses += 1
                    if losses == ATTEMPTS:
                        raise place.lost() from loss
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder
