"""The roster finds flights by key, ref and external id, and keeps nothing of those that are over beyond what it says."""

from __future__ import annotations

import pytest

from skylift.core.attempt import Observation, Phase
from skylift.executors.flying.flight import Flight, Order
from skylift.executors.flying.roster import MOST_EARLY, MOST_REMEMBERED, REMEMBERED, Roster
from skylift.executors.flying.settle import Kind

pytestmark = pytest.mark.unit


def flight(external_id: str, key: str = "key") -> Flight:
    return Flight(Order(key, Kind.TASK, external_id, document=lambda: "{}"), since=0.0, due=0.0)


def seen(ref: str, external_id: str = "", version: int = 0) -> Observation:
    return Observation(ref, Phase.RUNNING, external_id=external_id, version=version)


def sizes(roster: Roster) -> dict[str, int]:
    """Of everything that the roster holds, so that nothing leaks unseen."""
    return {name: len(held) for name, held in vars(roster).items() if held}


def test_a_flight_that_is_over_leaves_only_its_ref() -> None:
    roster = Roster()
    for number in range(5):
        one = flight(f"e{number}", f"k{number}")
        roster.add(one)
        roster.place(one, f"r{number}")
        roster.remove(one, now=float(number))
    assert sizes(roster) == {"_landed": 5}
    assert roster.landed("r0")
    assert not roster.landed("r9")
    assert roster.knows(seen("r4"))
    assert roster.of_ref("r4") is None


def test_of_two_flights_of_one_key_the_other_stays() -> None:
    roster, one, other = Roster(), flight("e1"), flight("e2")
    roster.add(one)
    roster.add(other)
    assert roster.of_key("key") == [one, other]
    roster.remove(one, 0.0)
    assert roster.of_key("key") == [other]
    assert roster.knows(seen("?", "e2"))
    assert not roster.knows(seen("?", "e1"))
    roster.remove(one, 0.0)
    assert (list(roster), len(roster)) == ([other], 1), "removed twice is removed once"
    roster.remove(other, 0.0)
    assert sizes(roster) == {}
    assert roster.of_key("key") == []


def test_a_second_flight_with_the_same_external_id_and_ref_keeps_both_when_the_first_goes() -> None:
    roster, one, again = Roster(), flight("e"), flight("e")
    for each in (one, again):
        roster.add(each)
        roster.place(each, "ref")
    roster.remove(one, 0.0)
    assert roster.of_ref("ref") is again
    assert not roster.landed("ref")
    assert roster.knows(seen("?", "e"))


def test_the_refs_of_flights_that_are_over_are_forgotten_after_a_while() -> None:
    roster, now = Roster(), 1000.0
    for ref, at in (("first", now), ("second", now + 1), ("later", now + 1 + REMEMBERED)):
        one = flight(ref)
        roster.add(one)
        roster.place(one, ref)
        roster.unplace(one, at)
        assert roster.of_ref(ref) is None
    assert [roster.landed(ref) for ref in ("first", "second", "later")] == [False, True, True]


def test_no_more_refs_are_remembered_than_fit() -> None:
    roster, one = Roster(), flight("e")
    for number in range(MOST_REMEMBERED + 2):
        roster.place(one, f"r{number}")
        roster.unplace(one, 0.0)
    assert len(roster._landed) == MOST_REMEMBERED
    assert not roster.landed("r1")
    assert roster.landed("r2")


def test_what_comes_early_waits_the_newest_of_each() -> None:
    roster = Roster()
    for version in (2, 3, 1):
        roster.early(seen("ref", version=version), 0.0)
    assert roster.arrived("ref") == seen("ref", version=3)
    assert roster.arrived("ref") is None, "told once"
    first, again = seen("twin", "a", version=1), seen("twin", "b", version=1)
    roster.early(first, 0.0)
    roster.early(again, 0.0)
    assert roster.arrived("twin") is again, "of one version the last word counts"


def test_what_comes_early_and_is_never_asked_for_is_dropped_the_oldest_first() -> None:
    roster = Roster()
    for number in range(MOST_EARLY + 1):
        roster.early(seen(f"r{number}"), 0.0)
    assert len(roster._early) == MOST_EARLY
    assert roster.arrived("r0") is None
    assert roster.arrived("r1") is not None


def test_what_came_early_is_forgotten_after_a_while() -> None:
    roster, one = Roster(), flight("e")
    roster.early(seen("old"), 0.0)
    roster.early(seen("new"), 1.0)
    roster.place(one, "ref")
    roster.unplace(one, REMEMBERED + 0.5)
    assert roster.arrived("old") is None
    assert roster.arrived("new") is not None
