"""The flight index finds flights by key, ref and external id, and keeps only the documented part of those that are
over."""

from __future__ import annotations

import pytest

from skylift.core.attempt import Observation, Phase
from skylift.executors.fleet.flight import Flight, Order
from skylift.executors.fleet.flight_index import MOST_EARLY, MOST_REMEMBERED, REMEMBERED, FlightIndex
from skylift.executors.fleet.settle import WorkloadKind

pytestmark = pytest.mark.unit


def flight(external_id: str, key: str = "key") -> Flight:
    return Flight(Order(key, WorkloadKind.TASK, external_id, document=lambda: "{}"), since=0.0, due=0.0)


def seen(ref: str, external_id: str = "", version: int = 0) -> Observation:
    return Observation(ref, Phase.RUNNING, external_id=external_id, version=version)


def sizes(index: FlightIndex) -> dict[str, int]:
    """The sizes of everything in the flight index, so that no leak goes unnoticed."""
    return {name: len(held) for name, held in vars(index).items() if held}


def test_a_flight_that_is_over_leaves_only_its_ref() -> None:
    index = FlightIndex()
    for number in range(5):
        one = flight(f"e{number}", f"k{number}")
        index.add(one)
        index.place(one, f"r{number}")
        index.remove(one, now=float(number))
    assert sizes(index) == {"_landed": 5}
    assert index.landed("r0")
    assert not index.landed("r9")
    assert index.knows(seen("r4"))
    assert index.of_ref("r4") is None


def test_of_two_flights_of_one_key_the_other_stays() -> None:
    index, one, other = FlightIndex(), flight("e1"), flight("e2")
    index.add(one)
    index.add(other)
    assert index.of_key("key") == [one, other]
    index.remove(one, 0.0)
    assert index.of_key("key") == [other]
    assert index.knows(seen("?", "e2"))
    assert not index.knows(seen("?", "e1"))
    index.remove(one, 0.0)
    assert (list(index), len(index)) == ([other], 1), "removed twice is removed once"
    index.remove(other, 0.0)
    assert sizes(index) == {}
    assert index.of_key("key") == []


def test_a_second_flight_with_the_same_external_id_and_ref_keeps_both_when_the_first_goes() -> None:
    index, one, again = FlightIndex(), flight("e"), flight("e")
    for each in (one, again):
        index.add(each)
        index.place(each, "ref")
    index.remove(one, 0.0)
    assert index.of_ref("ref") is again
    assert not index.landed("ref")
    assert index.knows(seen("?", "e"))


def test_the_refs_of_flights_that_are_over_are_forgotten_after_a_while() -> None:
    index, now = FlightIndex(), 1000.0
    for ref, at in (("first", now), ("second", now + 1), ("later", now + 1 + REMEMBERED)):
        one = flight(ref)
        index.add(one)
        index.place(one, ref)
        index.unplace(one, at)
        assert index.of_ref(ref) is None
    assert [index.landed(ref) for ref in ("first", "second", "later")] == [False, True, True]


def test_no_more_refs_are_remembered_than_fit() -> None:
    index, one = FlightIndex(), flight("e")
    for number in range(MOST_REMEMBERED + 2):
        index.place(one, f"r{number}")
        index.unplace(one, 0.0)
    assert len(index._landed) == MOST_REMEMBERED
    assert not index.landed("r1")
    assert index.landed("r2")


def test_what_comes_early_waits_the_newest_of_each() -> None:
    index = FlightIndex()
    for version in (2, 3, 1):
        index.early(seen("ref", version=version), 0.0)
    assert index.arrived("ref") == seen("ref", version=3)
    assert index.arrived("ref") is None, "told once"
    first, again = seen("twin", "a", version=1), seen("twin", "b", version=1)
    index.early(first, 0.0)
    index.early(again, 0.0)
    assert index.arrived("twin") is again, "of one version the last word counts"


def test_what_comes_early_and_is_never_asked_for_is_dropped_the_oldest_first() -> None:
    index = FlightIndex()
    for number in range(MOST_EARLY + 1):
        index.early(seen(f"r{number}"), 0.0)
    assert len(index._early) == MOST_EARLY
    assert index.arrived("r0") is None
    assert index.arrived("r1") is not None


def test_what_came_early_is_forgotten_after_a_while() -> None:
    index, one = FlightIndex(), flight("e")
    index.early(seen("old"), 0.0)
    index.early(seen("new"), 1.0)
    index.place(one, "ref")
    index.unplace(one, REMEMBERED + 0.5)
    assert index.arrived("old") is None
    assert index.arrived("new") is not None
