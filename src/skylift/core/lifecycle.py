"""A lifecycle is one table of states and allowed moves; a state without moves is final.

The table is data, so diagrams and documents are generated from it (``docs/lifecycles.md``).
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
    """States with their allowed moves.

    Attributes:
        name: what has this lifecycle, for messages and diagrams.
        moves: each state with the states that may follow; a state with an empty set is final.
    """

    name: str
    moves: Mapping[S, frozenset[S]]

    def may(self, before: S, after: S) -> bool:
        """Whether the move is allowed. Staying in a state always is."""
        return before == after or after in self.moves[before]

    def move(self, before: S, after: S) -> S:
        """Returns ``after``.

        Raises:
            Broken: the table does not allow it.
        """
        if not self.may(before, after):
            raise Broken(f"{self.name}: no move from {before} to {after}")
        return after

    def is_final(self, state: S) -> bool:
        """Whether nothing follows this state."""
        return not self.moves[state]
