"""What the fleet flies: an order (one workload to run), its flight (how it goes), the news of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from skylift.core.attempt import Attempt, Phase
from skylift.executors.settle import Event, Kind


@dataclass(frozen=True, eq=False)
class Order:
    """One workload to run, or to take over. Two launches of one workload (after a deferral) are two orders.

    Attributes:
        key: Airflow's key of the workload; not unique.
        external_id: unique, and kept over restarts of the scheduler.
        document, wishes, labels, queue, adopted: see ``Attempt``.
        log_path: where Airflow's log of this try is, below the base of the logs; "" when the workload has none.
        began: it is known to run already: look for its container, start none.
        repeat: whether another attempt may be made.
    """

    key: Hashable
    kind: Kind
    external_id: str
    document: Callable[[], str] = field(repr=False)
    wishes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    queue: str = ""
    log_path: str = ""
    adopted: bool = False
    began: bool = False
    repeat: bool = True


class Stage(StrEnum):
    """What the news is."""

    RUNNING = "running"
    REPEATED = "repeated"
    ENDED = "ended"


@dataclass(frozen=True)
class News:
    """Something the scheduler's thread should hear.

    Attributes:
        event: with ``ENDED``: what Airflow's scheduler is told.
        reason: for people.
        record: whether the reason belongs in the task instance's event log.
    """

    order: Order
    stage: Stage
    event: Event = Event.NONE
    reason: str = ""
    record: bool = False


@dataclass(eq=False)
class Flight:
    """How an order goes. Only the fleet's own thread touches it.

    Attributes:
        number: of the attempt, from 1.
        ref: the compute's name for the attempt; "" as long as it is not placed.
        due: when it is to be submitted, looked for, looked at or stopped next.
        busy: a call about it is on its way.
        changed: when its phase changed last.
        missing_since: when the compute first said that it does not know it.
        failures: calls in a row that failed.
        revoked: why it must stop; "" as long as it may run.
    """

    order: Order
    due: float
    number: int = 1
    ref: str = ""
    busy: bool = False
    phase: Phase = Phase.WAITING
    changed: float = 0.0
    began: bool = False
    missing_since: float | None = None
    failures: int = 0
    revoked: str = ""

    def attempt(self) -> Attempt:
        """The attempt to submit now."""
        one = self.order
        return Attempt(
            one.external_id, self.number, one.document, one.wishes, one.labels, queue=one.queue, adopted=one.adopted
        )
