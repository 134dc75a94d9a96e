"""The seam between the reconciler and the world: three verbs on the parts of an environment.

The contract, for every kind of part:

* Every verb answers at once (a few AWS calls, never a wait for something to become ready) and may be repeated at any
  time, also after a crash between the deed and its record.
* ``observe`` takes many parts of one kind and answers for each. It never changes anything. A part whose needs are not
  ready may be asked about; it answers with what can be told from the facts that there are. While an environment is
  deleted, ABSENT means: nothing of it is left.
* ``put`` makes one part as wanted, or begins to. It returns facts to remember (for example the ARN of an ECS task that
  it started); what it returns is known before the next ``observe``.
* ``remove`` takes one part away, or begins to; what does not exist is not an error.
* Facts and notes never hold a secret.

Errors: ``Refused`` (the environment cannot be as wanted), ``Unavailable`` (look again later), ``Broken``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext
from skylift.control.plan import Seen


class Parts(Protocol):
    """What the reconciler drives. The contract stands above."""

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """How parts of one kind stand, by part name."""

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        """Makes one part as wanted, or begins to; facts to remember."""

    def remove(self, context: PartContext, part: Part) -> None:
        """Takes one part away, or begins to."""


class LookedAtParts(Parts):
    """Base of the kinds that are only looked at: nothing is made, and nothing taken away."""

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self.look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:  # noqa: ARG002  as in Parts
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        """There is nothing of it."""

    @abstractmethod
    def look(self, context: PartContext) -> Seen:
        """How an environment's part of this kind stands; all of a kind stand alike."""


class World(Parts, Protocol):
    """Parts, and the ground that all environments share."""

    def prepare(self) -> None:
        """Makes what all environments share, where it is missing."""

    def forget_payloads(self, environment: str) -> None:
        """Deletes what an environment's executor has left in the control-plane bucket."""
