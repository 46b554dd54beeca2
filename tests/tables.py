"""What tests of data share: files, interactions from lists, and their rows as lists."""

import numpy as np

from fastals import Interactions
from fastals.data.events import Events
from fastals.data.ids import Ids
from fastals.datasets import synthetic


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def ratings_of(users, items, values=None, times=None):
    """Events whose ids are the numbers from 0."""
    users, items = np.array(users, np.int32), np.array(items, np.int32)
    values = np.ones(users.size) if values is None else np.array(values)
    times = None if times is None else np.array(times, np.int64)
    names = Ids("users", np.arange(users.max() + 1)), Ids("items", np.arange(items.max() + 1))
    events = Events(users, items, values.astype(np.float32), times)
    return Interactions._make((len(names[0]), len(names[1])), events.values.dtype, *names, events=events)


def rows_of(ratings):
    """User id, item id, value and time of each event."""
    times = [None] * len(ratings) if ratings.times is None else ratings.times.tolist()
    users, items = ratings.user_ids[ratings.users].tolist(), ratings.item_ids[ratings.items].tolist()
    return list(zip(users, items, ratings.values.tolist(), times, strict=True))


def film_file(folder):
    """Write a file of the layout of MovieLens 100K with titles beside it; ids start at 101."""
    ratings = synthetic(60, 40, 1500)
    path = folder / "u.data"
    columns = zip(ratings.users + 101, ratings.items + 101, ratings.values.astype(int), ratings.times, strict=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in columns))
    path.with_name("u.item").write_text("".join(f"{i}|Film {i}|\n" for i in range(101, 141)))
    return path
