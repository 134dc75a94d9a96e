"""The program of a container is built once, even when a scheduler's first launches need it at the same time."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from skylift.executors.in_container import payload, programs

pytestmark = pytest.mark.unit

THREADS, ROUNDS = 8, 10


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """A collector that runs often and gives other threads their turn, as weak references' callbacks do in a
    scheduler."""

    def elsewhere(_phase: str, _counts: object) -> None:
        time.sleep(0)

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    gc.callbacks.append(elsewhere)
    yield
    gc.callbacks.remove(elsewhere)
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("busy_collector")
@pytest.mark.parametrize("stay", [False, True])
def test_many_who_ask_for_it_first_all_get_it(stay: bool) -> None:
    for _ in range(ROUNDS):
        programs._text.cache_clear()
        begin = Barrier(THREADS)

        def ask(_: int, begin: Barrier = begin) -> bytes:
            begin.wait()
            return programs.program("", stay=stay)

        with ThreadPoolExecutor(THREADS) as pool:
            assert len(set(pool.map(ask, range(THREADS)))) == 1


def test_payloads_have_it_before_anybody_asks() -> None:
    programs._text.cache_clear()
    payload.Payloads()
    assert programs._text.cache_info().currsize == 1
