"""The interface between the reconciler and AWS: three verbs on the parts of an environment.

The contract, for every kind of part:

* Every verb returns at once (a few AWS calls, never a wait for something to become ready) and may be repeated at any
time, also after a crash between the action and its record.
* ``observe`` takes many parts of one kind and answers for each. It never changes anything. A part whose needs are not
  ready may be asked about; it answers with what can be told from the facts that there are. While an environment is
  deleted, ABSENT means that nothing of it is left.
* ``put`` makes one part as wanted, or begins to. It returns facts to store (for example the ARN of an ECS task that
  it started); what it returns is known before the next ``observe``.
* ``remove`` removes one part, or begins to; a missing part is not an error.
* Facts and notes never contain a secret.

Errors: ``Refused`` (the environment cannot be made as wanted), ``Unavailable`` (try again later), ``Broken``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext
from skylift.control.plan import Seen


class Parts(Protocol):
    """What the reconciler calls. The contract is in this file's docstring."""

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """The state of parts of one kind, by part name."""

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        """Makes one part as wanted, or begins to; returns facts to store."""

    def remove(self, context: PartContext, part: Part) -> None:
        """Removes one part, or begins to."""


class LookedAtParts(Parts):
    """Base of the kinds that are only observed: nothing is created or removed."""

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self.look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:  # noqa: ARG002  as in Parts
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        """Does nothing."""

    @abstractmethod
    def look(self, context: PartContext) -> Seen:
        """The state of an environment's part of this kind; all parts of a kind have the same."""


class World(Parts, Protocol):
    """Parts, and what all environments share."""

    def prepare(self) -> None:
        """Creates what all environments share, if it is missing."""

    def forget_payloads(self, environment: str) -> None:
        """Deletes what an environment's executor has left in the control-plane bucket."""
