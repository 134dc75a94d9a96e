"""A lifecycle is one table of states and lawful moves; a state without arrows is final.

The table is data, so diagrams and documents are drawn from it (``docs/lifecycles.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from skylift.core.errors import Broken

S = TypeVar("S", bound=StrEnum)


@dataclass(frozen=True)
class Lifecycle(Generic[S]):
    """States with their lawful moves.

    Attributes:
        name: what lives this life, for messages and diagrams.
        moves: each state with the states that may follow it; a state that maps to an empty set is final.
    """

    name: str
    moves: Mapping[S, frozenset[S]]

    def may(self, before: S, after: S) -> bool:
        """Whether the move is lawful. Staying where one is always is."""
        return before == after or after in self.moves[before]

    def move(self, before: S, after: S) -> S:
        """Returns ``after``.

        Raises:
            Broken: the table has no such arrow.
        """
        if not self.may(before, after):
            raise Broken(f"{self.name}: no move from {before} to {after}")
        return after

    def is_final(self, state: S) -> bool:
        """Whether nothing follows this state."""
        return not self.moves[state]
