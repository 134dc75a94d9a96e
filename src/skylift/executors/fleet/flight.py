"""What the fleet carries out: an order (one workload to run), its flight (how it goes), its news.

Also ``AirflowState``, which it asks how Airflow sees them.
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
    """One workload to run or to adopt. Two launches of one workload (after a deferral) are two orders.

    Attributes:
        key: Airflow's key of the workload; not unique.
        external_id: unique, and kept over restarts of the scheduler.
        document, executor_config, labels, queue, adopted: see ``Attempt``.
        log_path: Airflow's log of this try, below the base of the logs; "" if the workload has none.
        ref: the compute's name for its container, if it is already known; otherwise "".
        subject: Airflow's own id of what is run (of the task instance), to ask whether it is still
            wanted.
        began: it is known to run already: search for its container, start none.
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
    """How Airflow sees the task instances of orders: its database."""

    def wanted(self, orders: Sequence[Order]) -> Collection[str]:
        """The subjects of those orders that Airflow still wants to begin; if it knows more, a mapping to their states
        (the values of ``settle.Standing``). Blocks on Airflow's database; may raise anything."""
        ...


class Stage(StrEnum):
    """What the news is about."""

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
    """What to do next for a flight, when it is due."""

    ASK = "ask"
    """Ask Airflow whether it still wants the workload."""
    SUBMIT = "submit"
    FIND = "find"
    LOOK = "look"
    STOP = "stop"
    LEAVE = "leave"
    """There is nothing, and nothing is wanted: it may be forgotten."""


@dataclass(eq=False, slots=True)
class Flight:
    """The state of an order. Only the fleet's own thread touches it.

    Attributes:
        order: what is carried out.
        since: when the fleet took it.
        due: when the next thing is to be done for it.
        ticket: of its place in a due queue (see ``DueQueue``); 0 if it is in none.
        group_key: of the attempt that waits to be submitted (see ``Compute.group_key``).
        number: of the attempt, from 1.
        spent: how many attempts count against the maximum.
        ref: the compute's name for the attempt; "" until it is placed.
        busy: a call about it is in progress.
        over: it has landed; whatever still happens to it is ignored.
        ending: its container has ended, and we ask Airflow for the state of its task instance.
        alone: no other container of this launch can be alive.
        phase, began, version: as last observed.
        changed: when its phase last changed.
        looks: how often its container was polled.
        told: there was an event about its container.
        missing_since: when the compute first said that it does not know it.
        failures: calls in a row that failed.
        unsure: a launch failed in a way that may have made a container.
        shortages: how often there was no capacity.
        short_since: when there was first none.
        unanswered: how often in a row its container found no Airflow API.
        unanswered_since: when it first found none.
        explained: the first end before the beginning has been explained.
        doubt: ask Airflow whether it still wants it, before the next launch.
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
        """The attempt to submit now, or that is being submitted."""
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
        """What to do next: the one table of a flight's life."""
        if self.ref:
            return Verb.STOP if self.revoked else Verb.LOOK
        if self.order.began:
            return Verb.FIND
        if self.revoked:
            # For another scheduler's launches, and ours that failed, nobody knows whether they made a container.
            return Verb.FIND if self.unsure or self.order.adopted else Verb.LEAVE
        return Verb.ASK if self.doubt else Verb.SUBMIT

    def restart(self, now: float, wait: float) -> None:
        """Makes it the next attempt, due after this many seconds."""
        self.number += 1
        self.due, self.changed = now + wait, now
        self.ref, self.phase, self.began, self.version = "", Phase.WAITING, False, 0
        self.looks, self.told, self.missing_since, self.failures = 0, False, None, 0
        self.unsure, self.superseded, self.doubt = False, False, True
