"""Attempts: one try to run one workload, what we observe of it, what that means, and where it runs (``Compute``).

*An attempt that never began is ours to repeat; one that began is Airflow's.* ``verdict`` is that rule as a pure
function. AWS's words (ECS's ``lastStatus``, Batch's ``RUNNABLE``) do not appear beyond an ``Observation``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Protocol, runtime_checkable


class Exit(IntEnum):
    """Exit codes of the command that runs in the container (``executors/in_container/main.py`` repeats these numbers).

    They tell how far Airflow's supervisor came, not how the Airflow task ended; the supervisor has told Airflow that.
    """

    DONE = 0
    """The supervisor ended in order and Airflow has the state: success, failed by its own word, deferred,
    rescheduled."""
    ENDED_BADLY = 70
    """The Airflow task's process failed or was stopped on Airflow's word (cleared, marked); Airflow has the state."""
    NOT_OURS = 71
    """Airflow refused the start: it runs elsewhere already, or nobody wants it any more. Nothing was run here."""
    NEVER_BEGAN = 72
    """The workload could not be fetched or read, or there is no Airflow. Nothing was run here."""
    UNREACHABLE = 73
    """Nothing answered as Airflow's API, or a proxy said that it is not there now. Nothing was run here."""
    NOT_TLS = 74
    """The API's address says https, and what listens there does not speak TLS. Nothing was run; nor in those below."""
    IS_TLS = 75
    """The API's address says http, and what listens there wants TLS."""
    NO_EXECUTION_API = 76
    """What answered is not Airflow's execution API: another path, another server."""
    NO_ACCESS = 77
    """Airflow's API does not take the workload's token."""
    STOPPED_OUTSIDE = 78
    """The container was stopped, and not by Airflow. Airflow has the state (failed, up for retry), not the reason."""
    NOT_TRUSTED = 79
    """The certificate of Airflow's API is not trusted."""


SUPERSEDED = "skylift makes another attempt"
"""Begins the ``why`` of a stop after which the fleet makes another attempt: such a stop is nobody's request to end the
work."""


class Phase(StrEnum):
    """How far the compute is with an attempt."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    MISSING = "missing"
    """The compute says that it does not know it: too new (eventual consistency), or long gone."""


@dataclass(frozen=True)
class Observation:
    """What a compute says of one attempt.

    Attributes:
        ref: the compute's own name for it (an ARN).
        phase: how far it is.
        began: the container with Airflow in it did start.
        exit_code: of that container only (a sidecar's says nothing about Airflow); ``None`` if there is none.
        by_request: a person or program asked for the stop (not the compute itself, as with Spot), so the attempt
            must not be repeated.
        reason: for people, one line: stop code, reasons, exit code.
        version: grows with every change of that container, if the service counts (ECS); otherwise 0. An observation
        older
            than the last one is ignored.
        shortage: it stopped before it began because there was no capacity: it is repeated, and does not count as a
            failure.
        external_id: whose attempt it is, if the service says (events); otherwise "".
        outside: something outside the container stopped it: a person, Spot, its host.
    """

    ref: str
    phase: Phase
    began: bool = False
    exit_code: int | None = None
    by_request: bool = False
    reason: str = ""
    version: int = 0
    shortage: bool = False
    external_id: str = ""
    outside: bool = False


class Verdict(StrEnum):
    """What an observation means for an attempt."""

    UNDERWAY = "underway"
    FINISHED = "finished"
    """It ended, and Airflow knows the result."""
    DIED = "died"
    """It began (or somebody stopped it on purpose) and ended without telling Airflow."""
    LOST = "lost"
    """It never began, so we repeat it."""
    GONE = "gone"
    """It began, and the compute no longer knows it: only Airflow's own heartbeat can tell whether it still runs."""


ENDINGS = dict.fromkeys(Exit, Verdict.LOST) | {
    Exit.DONE: Verdict.FINISHED,
    Exit.ENDED_BADLY: Verdict.FINISHED,
    Exit.NOT_OURS: Verdict.FINISHED,
    Exit.STOPPED_OUTSIDE: Verdict.FINISHED,
}


def verdict(seen: Observation, *, ever_began: bool = False, missing_for: float = 0.0, grace: float = 300.0) -> Verdict:
    """What this observation means.

    Args:
        seen: the newest observation.
        ever_began: an earlier observation showed that the container had started.
        missing_for: seconds since the compute began to say ``MISSING`` without interruption.
        grace: seconds during which ``MISSING`` means nothing (ECS is eventually consistent; AWS advises up to 5
            minutes).
    """
    began = seen.began or ever_began
    if seen.phase is Phase.MISSING:
        if missing_for < grace:
            return Verdict.UNDERWAY
        # Repeating is safe even if this is wrong: Airflow's API lets only one container take a task instance.
        return Verdict.GONE if began else Verdict.LOST
    if seen.phase is not Phase.STOPPED:
        return Verdict.UNDERWAY
    ending = Verdict.DIED if began else Verdict.LOST
    if seen.exit_code in ENDINGS:
        ending = ENDINGS[Exit(seen.exit_code)]
    # A requested stop may come before Airflow's task began; repeating the attempt would undo the request.
    wanted = seen.by_request and SUPERSEDED not in seen.reason
    return Verdict.DIED if ending is Verdict.LOST and wanted else ending


@dataclass(frozen=True)
class Attempt:
    """One try to run one workload.

    Attributes:
        external_id: of the workload's launch; made before the compute is called, and kept over our restarts.
        number: from 1; ours, nothing to do with Airflow's ``try_number``.
        document: makes the workload's JSON, with a token that is valid from now on. Secret.
        executor_config: the author's ``executor_config``, never changed.
        labels: for people and bills: dag_id, task_id, run_id, map_index, try_number.
        shortages: how often capacity was lacking so far: tells a compute which fallback to try.
        queue: Airflow's queue, as the author wrote it; "" for workloads without one.
        adopted: another scheduler may have submitted it already. A service without idempotency tokens must search
        first.
    """

    external_id: str
    number: int
    document: Callable[[], str] = field(repr=False)
    executor_config: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    shortages: int = 0
    queue: str = ""
    adopted: bool = False

    @property
    def token(self) -> str:
        """Names this attempt for ever: two calls with it give one container. At most 64 characters for ECS."""
        return f"{self.external_id}.{self.number}"


@dataclass(frozen=True)
class Submission:
    """The answer to one submitted attempt; exactly one of the three is set.

    Attributes:
        ref: it was accepted; the compute's name for it.
        later: not now, but the same will work later (throttled, no capacity, network): why.
        refused: it will never work like this: why, and what to change.
        throttled: with ``later``: the service asks us to slow down.
        shortage: with ``later``: there is no capacity.
    """

    ref: str = ""
    later: str = ""
    refused: str = ""
    throttled: bool = False
    shortage: bool = False


class Compute(Protocol):
    """Where attempts run.

    Every verb may be repeated harmlessly, survives our restart, and takes many attempts if the service does. Verbs
    block on the network, so worker threads call them, several at once. They keep no state that a restart would lose.
    Where it says "raises": ``Unavailable`` if nothing can be said or done now, ``Refused`` if we are not allowed.

    * ``group_key``: attempts with equal keys may go in one ``submit`` call, up to ``most_per_submit``; ``None`` means
      alone. It does not block and does not raise.
    * ``submit`` never raises: each attempt gets its ``Submission``, in the same order. The same token gives the same
      container, even if the first call succeeded after a time-out.
    * ``observe`` raises. An unknown ref is ``MISSING``, which is an answer and not an error. A stop is reported
      with its reason, with or without exit codes. Answers come in any order, at most one per ref.
    * ``stop`` requests the end, and raises; ``observe`` shows when it is over. Stopping what has stopped or is unknown
      is fine.
    * ``find`` returns the refs of all attempts of one external id that the service still knows, stopped ones too, the
      newest last; it raises. It ignores ``number`` and ``shortages`` of the attempt.
    * ``renew``, for an attempt that waits long: its workload gets a token that is valid from now on, before the old one
      expires. ``False`` if that is impossible (the workload is in the command): the caller stops it and makes another
      attempt. It raises. Renewing an attempt that has begun is harmless.
    * ``explain`` tells more about an end than the observation does: the last lines of the container's log, a link to
    it;
      "" if there is nothing. It raises.

    Optional, beside these verbs: a ``Census``, and an explainer (``Explained``).
    """

    most_per_submit: int
    most_per_observe: int

    def group_key(self, attempt: Attempt) -> Hashable | None: ...

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]: ...

    def observe(self, refs: Sequence[str]) -> list[Observation]: ...

    def stop(self, ref: str, why: str) -> None: ...

    def find(self, attempt: Attempt) -> list[str]: ...

    def renew(self, attempt: Attempt, ref: str) -> bool: ...

    def explain(self, ref: str) -> str: ...


class Output(Protocol):
    """What a container prints, while it runs."""

    def since(self, token: str, start: float) -> tuple[tuple[str, ...], str]:
        """Lines from the start, or from where an earlier call's token says, and the token for the next call.

        It blocks, and raises like the verbs.

        Args:
            token: "" the first time. No lines and the same token mean that nothing is new.
            start: seconds since 1970; earlier lines are omitted.
        """
        ...


class Explainer(Protocol):
    """Finds out more about an attempt than its observation says, for people.

    * ``explain``: see ``Compute``.
    * ``standing``: its state, in one line.
    * ``output``: what its container prints; ``None`` if that cannot be read.

    All block, and raise like the verbs.
    """

    def explain(self, ref: str) -> str: ...

    def standing(self, ref: str) -> str: ...

    def output(self, ref: str) -> Output | None: ...


@runtime_checkable
class Explained(Protocol):
    """An optional capability of a compute: an ``Explainer``, for people who look at an attempt while it runs.

    Without one they see what ``observe`` says.
    """

    explainer: Explainer | None


@runtime_checkable
class Census(Protocol):
    """An optional capability of a compute: a list of everything alive, for a scheduler that adopts many at once.

    ``census`` returns the refs by external id, strangers' too; the caller uses ``find`` for what is not in it. It
    blocks as long as a few hundred calls take, and raises like the verbs.
    """

    def census(self) -> dict[str, list[str]]: ...
