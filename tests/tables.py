"""What tests of data share: files, interactions from lists, and their rows as lists."""

import numpy as np

from fastals import Interactions
from fastals.data.events import Events
from fastals.data.ids import Ids


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
