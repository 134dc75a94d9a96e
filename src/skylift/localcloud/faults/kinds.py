"""The kinds of faults, as data: the command's options, the API's checks and ``docs/faults.md`` use it.

Small on purpose: the command line imports this module, and nothing else of the local cloud.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.core.errors import Refused
from skylift.core.settings import Setting


@dataclass(frozen=True)
class Preset:
    """One of AWS's token buckets.

    Attributes:
        service: signing name.
        operations: those that share the bucket; empty: all of the service.
        burst: how many tokens it holds.
        rate: tokens added per second.
        by_count: whether a call costs as many tokens as it starts ECS tasks.
        source: where AWS documents it.
    """

    service: str
    operations: frozenset[str]
    burst: float
    rate: float
    source: str
    by_count: bool = False


_ECS_LIMITS = "Amazon ECS API Reference, Request throttling"
PRESETS = {
    "ecs-modify": Preset(
        "ecs", frozenset({"RunTask", "StartTask", "StopTask", "ExecuteCommand"}), 100, 40, _ECS_LIMITS
    ),
    "ecs-read": Preset("ecs", frozenset({"DescribeTasks", "ListTasks"}), 100, 20, _ECS_LIMITS),
    "fargate-launch": Preset("ecs", frozenset({"RunTask"}), 100, 20, "Amazon ECS on Fargate, throttling quotas", True),
    "batch": Preset("batch", frozenset(), 50, 50, "AWS Batch User Guide, service quotas"),
}


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """A parser of numbers between two bounds, both included."""

    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise ValueError(f"expected a number from {least:g} to {most:g}")
        return value

    return parse


def whole(least: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` on."""

    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise ValueError(f"expected a whole number from {least} on")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """A parser of one of some words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(word for word in words if word)}")
        return text

    return parse


Parameter = Setting[Any]

SERVICE = Parameter("service", str, "", "Only calls to this service, by its signing name (ecs, batch, s3 ...).")
OPERATION = Parameter("operation", str, "", "Only calls of this operation, e.g. RunTask.")
CLUSTER = Parameter("cluster", str, "", "Only this ECS cluster.")
QUEUE = Parameter("queue", str, "", "Only this Batch job queue.")
CALLS = Parameter("calls", whole(0), 0, "Ends after this many hits; 0: no limit.")
SECONDS = Parameter("seconds", number(0), 0.0, "Ends after this many seconds; 0: stays until it is cleared.")
PROBABILITY = Parameter("probability", number(0, 1), 1.0, "Share of the matching calls or events that it hits, 0 to 1.")
SEED = Parameter("seed", int, 0, "Random seed: the same seed and the same calls give the same hits.")

_EXTENT = (CALLS, SECONDS, PROBABILITY, SEED)
_CALL = (SERVICE, OPERATION, CLUSTER, QUEUE, *_EXTENT)


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault.

    Attributes:
        name: e.g. ``throttle``.
        meaning: what it does, for people.
        parameters: its own first, then its scope and extent.
        at_once: it acts once, immediately, and does not stay.
        service: the signing name that it affects; empty: any.
        operations: the operations that it affects; empty: any.
    """

    name: str
    meaning: str
    parameters: tuple[Parameter, ...]
    at_once: bool = False
    service: str = ""
    operations: frozenset[str] = frozenset()

    def read(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Values by parameter, defaults included.

        Raises:
            Refused: an unknown parameter, or a value that cannot be used.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        if unknown := texts.keys() - known.keys():
            raise Refused(f"fault {self.name} has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
        return {name: _parsed(self.name, parameter, texts.get(name)) for name, parameter in known.items()}


def _parsed(kind: str, parameter: Parameter, text: str | None) -> Any:
    if text is None:
        return parameter.default
    try:
        return parameter.parse(text)
    except ValueError as error:
        raise Refused(f"fault {kind}, {parameter.name}: {text!r} cannot be used: {error}") from error


KINDS: Mapping[str, FaultKind] = {
    kind.name: kind
    for kind in (
        FaultKind(
            "throttle",
            "Refuses calls with the service's own throttling error when a token bucket is empty.",
            (
                Parameter("preset", one_of("", *PRESETS), "", f"One of AWS's buckets: {', '.join(PRESETS)}."),
                Parameter(
                    "burst", number(0), 0.0, "Without a preset: size of the bucket in tokens; 0 refuses all calls."
                ),
                Parameter("rate", number(0), 0.0, "Without a preset: tokens added per second."),
                *_CALL,
            ),
        ),
        FaultKind(
            "latency",
            "Delays calls before they are processed.",
            (
                Parameter("delay", number(0, 600), 1.0, "Seconds."),
                Parameter("jitter", number(0, 600), 0.0, "Random extra seconds, at most this many."),
                *_CALL,
            ),
        ),
        FaultKind(
            "cut",
            "Resets the connection: the caller gets no answer and cannot know whether the work was done.",
            (
                Parameter(
                    "when",
                    one_of("before", "after"),
                    "after",
                    "before: the work is not done. after: it was accepted and is done anyway.",
                ),
                *_CALL,
            ),
        ),
        FaultKind(
            "error",
            "Answers calls with an error; the work is not done.",
            (
                Parameter("code", str, "InternalFailure", "The error's code, as SDKs see it."),
                Parameter("message", str, "The service is unavailable.", "Its text."),
                Parameter(
                    "status", whole(400), 500, "HTTP status, unless the service's model names one for this code."
                ),
                *_CALL,
            ),
        ),
        FaultKind(
            "missing",
            "DescribeTasks does not know ECS tasks that exist (failures with reason MISSING), as on AWS before it is "
            "consistent.",
            (
                Parameter(
                    "younger",
                    number(0),
                    0.0,
                    "Only ECS tasks that were created less than this many seconds ago; 0: all.",
                ),
                CLUSTER,
                *_EXTENT,
            ),
            service="ecs",
            operations=frozenset({"DescribeTasks"}),
        ),
        FaultKind(
            "capacity",
            "No capacity: RunTask starts nothing and returns a failure per ECS task; services start no ECS task, and "
            "tell it in their events; Batch jobs stay RUNNABLE.",
            (
                Parameter(
                    "reason",
                    str,
                    "RESOURCE:MEMORY",
                    "The failure's reason. Fargate's text is: Capacity is unavailable at this time.",
                ),
                Parameter("provider", str, "", "Only RunTask calls for this capacity provider, e.g. FARGATE_SPOT."),
                SERVICE,
                CLUSTER,
                QUEUE,
                *_EXTENT,
            ),
        ),
        FaultKind(
            "events",
            "Loses, duplicates or reorders state change events on their way to EventBridge.",
            (
                Parameter(
                    "how",
                    one_of("lose", "duplicate", "reorder"),
                    "lose",
                    "lose: never sent. duplicate: sent twice. reorder: sent late, after younger ones.",
                ),
                Parameter(
                    "spread", number(0, 600), 2.0, "For duplicate and reorder: late by at most this many seconds."
                ),
                Parameter("source", str, "", "Only events of this source: aws.ecs or aws.batch."),
                *_EXTENT,
            ),
        ),
        FaultKind(
            "spot",
            "Reclaims FARGATE_SPOT capacity: SIGTERM now, SIGKILL after the warning; stop code SpotInterruption.",
            (
                Parameter(
                    "warning",
                    number(0, 120),
                    120.0,
                    "Seconds between the two signals (AWS: 120); never more than the container's stopTimeout.",
                ),
                Parameter("task", str, "", "Only this ECS task (id or ARN)."),
                CLUSTER,
                PROBABILITY,
                SEED,
            ),
            at_once=True,
        ),
        FaultKind(
            "kill",
            "Kills containers (SIGKILL), as the kernel does when memory is short.",
            (
                Parameter("task", str, "", "Only this ECS task (id or ARN)."),
                Parameter("container", str, "", "Only containers of this name."),
                CLUSTER,
                PROBABILITY,
                SEED,
            ),
            at_once=True,
        ),
    )
}
