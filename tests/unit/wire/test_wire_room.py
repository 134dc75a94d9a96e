"""Room for one more connection: the one that has been idle longest goes, and strangers before those who have shown a
key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from skylift.wire.connections import make_room

pytestmark = pytest.mark.unit


@dataclass(eq=False)
class Transport:
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True


@dataclass(eq=False)
class Connection:
    """As a client's connection, as far as room is concerned."""

    connections: set[Any]
    heard: float
    known: bool = False
    idle: bool = True
    transport: Transport = field(default_factory=Transport)

    def __post_init__(self) -> None:
        self.connections.add(self)


def test_while_there_is_room_nobody_goes() -> None:
    known: set[Any] = set()
    one = Connection(known, 1.0)
    assert make_room(known, 2)
    assert known == {one}
    assert not one.transport.aborted


@pytest.mark.parametrize(
    ("connections", "goes"),
    [
        ([{"heard": 2.0}, {"heard": 1.0}], 1),
        ([{"heard": 1.0, "known": True}, {"heard": 9.0}], 1),
        ([{"heard": 1.0, "idle": False}, {"heard": 9.0, "known": True}], 1),
        ([{"heard": 5.0, "known": True}, {"heard": 4.0, "known": True}], 1),
    ],
)
def test_the_longest_idle_one_goes_and_counts_no_more(connections: list[dict[str, Any]], goes: int) -> None:
    known: set[Any] = set()
    made = [Connection(known, **one) for one in connections]
    assert make_room(known, 2)
    assert [one.transport.aborted for one in made] == [number == goes for number in range(len(made))]
    assert known == {one for one in made if not one.transport.aborted}


def test_who_is_being_served_stays() -> None:
    known: set[Any] = set()
    made = [Connection(known, float(number), idle=False) for number in range(2)]
    assert not make_room(known, 2)
    assert known == set(made)
