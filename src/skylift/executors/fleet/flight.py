"""What the fleet carries out: an order (one workload to run), its flight (how it goes), the news of it.

And whom it asks how Airflow has them (``AirflowState``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from skylift.core.attempt import Attempt, Phase
from skylift.executors.fleet.settle import Event, WorkloadKind


@dataclass(frozen=True, eq=False, slots=True)
class Order:
    """One workload to run, or to take over. Two launches of one workload (after a deferral) are two orders.

    Attributes:
        key: Airflow's key of the workload; not unique.
        external_id: unique, and kept over restarts of the scheduler.
        document, wishes, labels, queue, adopted: see ``Attempt``.
        log_path: where Airflow's log of this try is, below the base of the logs; "" when the workload has none.
        ref: the compute's name for its container, where that is known already; "" otherwise.
        subject: Airflow's own id of what is run (of the task instance), by which it can be asked whether it is still
            wanted.
        began: it is known to run already: look for its container, start none.
        repeat: whether another attempt may be made.
    """

    key: Hashable
    kind: WorkloadKind
    external_id: str
    document: Callable[[], str] = field(repr=False)
    executor_config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    queue: str = ""
    log_path: str = ""
    ref: str = ""
    subject: str = ""
    adopted: bool = False
    began: bool = False
    repeat: bool = True


class AirflowState(Protocol):
    """How Airflow has the task instances of orders: its database."""

    def wanted(self, orders: Sequence[Order]) -> Collection[str]:
        """The subjects of those orders that Airflow still wants to begin; where it knows, a mapping to how they stand
        (the values of ``settle.Standing``). Blocks on Airflow's database; may raise anything."""
        ...


class Stage(StrEnum):
    """What the news is."""

    RUNNING = "running"
    REPEATED = "repeated"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
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


class Verb(StrEnum):
    """What is to be done for a flight next, when it is due."""

    ASK = "ask"
    """Airflow, whether it still wants the workload."""
    SUBMIT = "submit"
    FIND = "find"
    LOOK = "look"
    STOP = "stop"
    LEAVE = "leave"
    """Nothing is there, and nothing is to be: it may be forgotten."""


@dataclass(eq=False, slots=True)
class Flight:
    """How an order goes. Only the fleet's own thread touches it.

    Attributes:
        order: what is flown.
        since: when the fleet took it.
        due: when the next thing is to be done for it.
        ticket: of its place in a line (see ``Line``); 0 when it stands in none.
        group_key: of the attempt that waits to be submitted (see ``Compute.kin``).
        number: of the attempt, from 1.
        spent: how many attempts count against the most that are made.
        ref: the compute's name for the attempt; "" as long as it is not placed.
        busy: a call about it is on its way.
        over: it has landed; whatever still comes of it is ignored.
        ending: its container is over, and Airflow is asked how its task instance stands.
        alone: no other container of this launch can be alive.
        phase, began, version: as last seen.
        changed: when its phase changed last.
        looks: how often its container was looked at.
        told: an event of its container came.
        missing_since: when the compute first said that it does not know it.
        failures: calls in a row that failed.
        unsure: a launch failed in a way that may have made a container.
        shortages: how often there was no capacity.
        short_since: when there was none first.
        unanswered: how often in a row its container found no Airflow API.
        unanswered_since: when it found none first.
        explained: the first end before the begin has been explained.
        doubt: Airflow is to be asked whether it still wants it, before the next launch.
        superseded: its container was told to stop because another attempt is to follow.
        revoked: why it must stop; "" as long as it may run.
    """

    order: Order
    since: float
    due: float
    ticket: int = 0
    group_key: Hashable | None = None
    number: int = 1
    spent: int = 1
    ref: str = ""
    busy: bool = False
    over: bool = False
    ending: bool = False
    alone: bool = True
    phase: Phase = Phase.WAITING
    began: bool = False
    version: int = 0
    changed: float = 0.0
    looks: int = 0
    told: bool = False
    missing_since: float | None = None
    failures: int = 0
    unsure: bool = False
    shortages: int = 0
    short_since: float | None = None
    unanswered: int = 0
    unanswered_since: float | None = None
    explained: bool = False
    doubt: bool = False
    superseded: bool = False
    revoked: str = ""

    def attempt(self) -> Attempt:
        """The attempt to submit now, or that is on its way."""
        one = self.order
        return Attempt(
            one.external_id,
            self.number,
            one.document,
            one.executor_config,
            one.labels,
            shortages=self.shortages,
            queue=one.queue,
            adopted=one.adopted,
        )

    def verb(self) -> Verb:
        """What is to be done next: the one table of a flight's life."""
        if self.ref:
            return Verb.STOP if self.revoked else Verb.LOOK
        if self.order.began:
            return Verb.FIND
        if self.revoked:
            # Of another scheduler's launches, and of ours that failed, nobody knows whether they made a container.
            return Verb.FIND if self.unsure or self.order.adopted else Verb.LEAVE
        return Verb.ASK if self.doubt else Verb.SUBMIT

    def restart(self, now: float, wait: float) -> None:
        """Makes it the next attempt, due after so many seconds."""
        self.number += 1
        self.due, self.changed = now + wait, now
        self.ref, self.phase, self.began, self.version = "", Phase.WAITING, False, 0
        self.looks, self.told, self.missing_since, self.failures = 0, False, None, 0
        self.unsure, self.superseded, self.doubt = False, False, True
