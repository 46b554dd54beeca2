"""Several threads at one model: every answer is one state's, and no writer's work is lost."""

from __future__ import annotations

import copy
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from fastals import ExplicitALS, ImplicitALS
from tests.test_updates import example, fitted, stored


def answers(model) -> list[bytes]:
    """What a model answers to a few questions, to the bit; each question alone is answered from one state."""
    return [
        b"".join(map(np.ndarray.tobytes, found))
        for found in (
            model.recommend(None, 3),
            model.recommend([0, 3], 3, exclude=[1], allow=range(5)),
            model.similar_items(0, 2),
            (model.predict(0, 0),),
            (model.explain(0, 1).contributions,),
        )
    ]


def new_users(model):
    model.partial_fit_users([3, 20, 21], stored(example(1, (3, 14))))


def new_items(model):
    model.partial_fit_items([3, 14, 15], stored(example(1, (20, 3))))


def events(model):
    model.update(20, 14)


def smaller(model):
    model.fit(stored(example(1, (9, 6))))


def larger(model):
    model.fit(stored(example(1, (40, 30))))


def wider(model):
    model.set_params(factors=9).fit(stored(example(1)))


every_write = pytest.mark.parametrize("write", [new_users, new_items, events, smaller, larger, wider])
with_and_without_biases = pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])


@with_and_without_biases
@every_write
def test_asked_between_any_two_steps_of_a_write(cls, write):
    model, asking, seen = fitted(cls, n_threads=1), [], []
    before = answers(model)

    class Written(cls):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if not asking:
                asking.append(name)
                seen.append(answers(self))
                asking.clear()

    model.__class__ = Written
    write(model)
    assert seen
    assert all(found in (before, answers(model)) for found in seen)


@with_and_without_biases
@every_write
def test_written_between_any_two_steps_of_an_answer(cls, write):
    fresh, left = fitted(cls, n_threads=1), [0]
    written = copy.deepcopy(fresh)
    write(written)
    possible = list(zip(answers(fresh), answers(written), strict=True))

    class Read(cls):
        def __getattribute__(self, name):
            left[0] -= 1
            if left[0] == 0:
                write(self)
            return super().__getattribute__(name)

    for step in itertools.count(1):
        model = copy.deepcopy(fresh)
        model.__class__ = Read
        left[0] = step
        for found, either in zip(answers(model), possible, strict=True):
            assert found in either
        if left[0] > 0:
            break
    assert step > 10


@contextmanager
def often() -> Iterator[None]:
    """Inside, threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def together(*tasks: Callable[[], None]) -> None:
    """Run tasks on a thread each, at once; the first failure is raised."""
    failures: list[BaseException] = []
    gate = threading.Barrier(len(tasks))

    def run(task: Callable[[], None]) -> None:
        gate.wait()
        try:
            task()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    with often():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def test_no_update_is_lost():
    """Writers on threads of their own: every row that any of them gave is there in the end."""
    model = fitted(R=example(0, (40, 30)), n_threads=1)

    def events(first: int) -> None:
        for event in range(40):
            model.update(first + event % 10, event % 30, 2.5 + first)

    together(*(lambda first=first: events(first) for first in (0, 10, 20, 30)))
    R = model._fitted.by_user.cells
    for first in (0, 10, 20, 30):
        for event in range(40):
            begin, end = R.indptr[first + event % 10 :][:2]
            place = begin + np.searchsorted(R.indices[begin:end], event % 30)
            assert (R.indices[place], R.all_values[place]) == (event % 30, 2.5 + first)


def test_new_users_of_two_threads_are_all_there():
    """Each thread asks for the next number until it is free: both get as many rows as they gave."""
    model = fitted(n_threads=1)

    def grow() -> None:
        for _ in range(15):
            while True:
                try:
                    model.partial_fit_users([len(model.user_factors_)], stored(example(1, (1, 14))))
                    break
                except ValueError:  # the other thread has taken the number
                    continue

    before = len(model.user_factors_)
    together(grow, grow)
    added = model.user_factors_[before:]
    assert 15 <= len(added) <= 30
    assert np.abs(added).max(axis=1).all()


def test_what_is_learnt_beside_a_fit_that_fails_stays():
    model = fitted(n_threads=1)
    begun, learnt = threading.Event(), threading.Event()

    def fail(iteration, _):
        begun.set()
        learnt.wait(30)
        raise RuntimeError("enough")

    def fit() -> None:
        with pytest.raises(RuntimeError, match="enough"):
            model.fit(stored(example(1)), callback=fail)

    def learn() -> None:
        begun.wait(30)
        model.update(2, 3, 4.0)
        learnt.set()

    together(fit, learn)
    wanted = fitted(n_threads=1).update(2, 3, 4.0)
    np.testing.assert_array_equal(model.user_factors_, wanted.user_factors_)
    np.testing.assert_array_equal(model.item_factors_, wanted.item_factors_)


def test_a_forked_child_writes_where_the_parents_lock_was_held():
    model = fitted(n_threads=1)
    with model._writing:
        other = copy.copy(model)
    assert other._writing is not model._writing
    assert "_writing" not in " ".join(model.__getstate__())
