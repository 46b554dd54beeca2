"""Entries of rows, which come in blocks, to the rows of the transpose."""

from .jit import kernel


@kernel
def turn(items, values, entry, user, indptr, first, places, users, moved):
    """Move entries from the rows of users to those of a range of items; `entry` is the number of the first one.

    `first` is the first of the items, `places` where the next entry of each goes, `user` whose the first entry is.
    """
    for i in range(len(items)):
        while indptr[user + 1] <= entry + i:
            user += 1
        item = items[i] - first
        if 0 <= item < len(places):
            place = places[item]
            places[item] = place + 1
            users[place] = user
            if len(moved) > 0:
                moved[place] = values[i]
