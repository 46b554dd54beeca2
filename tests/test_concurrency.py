"""Several threads at one model: every answer is one state's, and no writer's work is lost."""

from __future__ import annotations

import copy
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from fastals import ExplicitALS, ImplicitALS
from tests.helpers import interrupted
from tests.test_updates import SMALL, example, fitted, stored


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


@with_and_without_biases
def test_every_answer_is_that_of_one_recorded_state(cls):
    """Four writers and four readers; all states are recorded, and asked again when all is over."""
    states = []

    class Recorded(cls):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "_fitted":
                states.append(value)

    model = Recorded(**SMALL | {"n_threads": 1}).fit(stored(example()))
    found: list[list[tuple[str, bytes]]] = [[] for _ in range(4)]
    left = [4]

    def write(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(4):
                for _ in range(3):
                    model.update(int(rng.integers(20)), int(rng.integers(14)), float(rng.integers(1, 5)))
                model.partial_fit_users([int(rng.integers(20))], stored(example(seed, (1, 14))))
                model.partial_fit_items([int(rng.integers(14))], stored(example(seed, (20, 1))))
                model.fit(stored(example(int(rng.integers(9)))))
        finally:
            left[0] -= 1

    def read(place: int) -> None:
        while left[0]:
            ids, scores = model.recommend([1, 2, 3], 3)
            found[place].append(("recommend", ids.tobytes() + scores.tobytes()))
            found[place].append(("fold-in", model.fold_in_users(stored(example(3, (2, 14)))).tobytes()))
            found[place].append(("predict", model.predict([1, 2], 3).tobytes()))

    together(*(lambda seed=seed: write(seed) for seed in range(4)), *(lambda at=at: read(at) for at in range(4)))
    possible = set()
    for state in tuple(states):
        model._fitted = state
        ids, scores = model.recommend([1, 2, 3], 3)
        possible.add(("recommend", ids.tobytes() + scores.tobytes()))
        possible.add(("fold-in", model.fold_in_users(stored(example(3, (2, 14)))).tobytes()))
        possible.add(("predict", model.predict([1, 2], 3).tobytes()))
    assert sum(map(len, found)) > 50
    assert all(answer in possible for answers in found for answer in answers)


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


def outside_the_engine(frame) -> bool:
    """Tell whether a frame is this library's own Python; the engine's guards have tests of their own."""
    return "fastals" in frame.f_code.co_filename and "engine" not in frame.f_code.co_filename


@with_and_without_biases
@pytest.mark.parametrize("write", [events, new_users, new_items, larger])
def test_ctrl_c_at_any_line_leaves_the_state_before_or_after(cls, write):
    fresh = fitted(cls, n_threads=1)
    written = copy.deepcopy(fresh)
    write(written)
    possible = [answers(fresh), answers(written)]
    every = int(os.environ.get("FASTALS_EVERY_LINE", "2"))  # 1: each line, which takes longer
    for stop in itertools.count(1, every):
        model = copy.deepcopy(fresh)
        came = interrupted(lambda model=model: write(model), outside_the_engine, stop)
        found = answers(model)
        assert found in possible
        write(model)  # no lock is held any more
        if not came:
            assert found == possible[1]
            break
    assert stop > 30
