"""Python's garbage collection in components of Airflow: seldom, and never over long-lived objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from skylift.runtime import gc_tuning as collecting

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """As it was before."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.itself = self


def test_the_api_server_is_not_searched_as_a_whole_before_it_is_built() -> None:
    assert collecting.start(["api-server", "--port", "8080"]) is None
    young, _, whole = gc.get_threshold()
    assert young == collecting.YOUNG
    assert whole > 1000
    collecting.settle()
    assert gc.get_threshold()[2] < 100


def test_what_is_there_stays_and_what_comes_is_searched() -> None:
    before, gone = [Node() for _ in range(1000)], ref(Node())
    collecting.settle()
    assert gc.get_freeze_count() >= len(before)
    assert gone() is None, "garbage of the start is not kept"
    assert not any(one is before[0] for one in gc.get_objects())
    later = ref(Node())
    gc.collect()
    assert later() is None


def test_a_scheduler_settles_by_the_clock() -> None:
    timer = collecting.start(["scheduler", "--skip-serve-logs"], after=0.05)
    assert timer is not None
    assert gc.get_threshold()[2] < 100, "what a scheduler forks inherits it, and not the clock"
    timer.join(10)
    assert gc.get_freeze_count() > 0


def test_a_run_in_the_terminal_is_searched_as_a_whole_at_last() -> None:
    collecting.start_short_lived()
    young, _, whole = gc.get_threshold()
    assert (young, 10 < whole < 1000) == (collecting.YOUNG, True)


@pytest.mark.parametrize("arguments", [[], ["triggerer"], ["dag-processor"], ["db", "migrate"]])
def test_others_are_left_alone(arguments: list[str]) -> None:
    before = gc.get_threshold()
    assert collecting.start(arguments) is None
    assert gc.get_threshold() == before
