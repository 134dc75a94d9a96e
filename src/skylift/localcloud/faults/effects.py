"""What one fault does to one call or event: pure decisions, except for the fault's own bucket and random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from skylift.localcloud.faults.kinds import PRESETS, FaultKind, Preset
from skylift.wire.errors import AwsError
from skylift.wire.intercept import Answered, Call

THROTTLED: Mapping[str, tuple[str, str, int]] = {
    "ecs": ("ThrottlingException", "Rate exceeded", 400),
    "batch": ("TooManyRequestsException", "Too Many Requests", 429),
    "s3": ("SlowDown", "Please reduce your request rate.", 503),
    "sqs": ("RequestThrottled", "Request is throttled.", 400),
    "sns": ("Throttled", "Rate exceeded", 429),
    "lambda": ("TooManyRequestsException", "Rate Exceeded.", 429),
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    **dict.fromkeys(
        ("autoscaling", "cloudformation", "elasticloadbalancing", "iam", "monitoring", "sts"),
        ("Throttling", "Rate exceeded", 400),
    ),
    "airflow": ("ThrottlingException", "Rate exceeded", 429),
}
"""How each service reports throttling: code, text, HTTP status. By signing name. Codes come from botocore's models if
they have one, otherwise from botocore's retry rules (``botocore/data/_retry.json``)."""
_THROTTLED_ELSEWHERE = ("ThrottlingException", "Rate exceeded", 400)


@dataclass
class Bucket:
    """A token bucket, full at first."""

    burst: float
    rate: float
    tokens: float
    at: float

    def take(self, tokens: float, now: float) -> bool:
        """Takes this many tokens; returns false if there were not enough."""
        self.tokens = min(self.burst, self.tokens + self.rate * (now - self.at))
        self.at = now
        if self.tokens < tokens:
            return False
        self.tokens -= tokens
        return True


@dataclass
class Fault:
    """An active fault.

    Attributes:
        name: to clear it.
        kind: what it does.
        values: by parameter.
        since: seconds since the epoch.
        hits: how often it hit.
    """

    name: str
    kind: FaultKind
    values: Mapping[str, Any]
    since: float
    hits: int = 0
    chance: random.Random = field(init=False, repr=False)
    bucket: Bucket | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.values.get("seed", 0))  # noqa: S311 - repeatable is what is wanted
        if self.kind.name == "throttle":
            preset = self.preset
            burst, rate = (preset.burst, preset.rate) if preset else (self.values["burst"], self.values["rate"])
            self.bucket = Bucket(burst, rate, burst, self.since)

    @property
    def preset(self) -> Preset | None:
        """The requested token bucket of AWS."""
        return PRESETS.get(self.values.get("preset", ""))

    def over(self, now: float) -> bool:
        """Whether it has hit as often, or lasted as long, as it should."""
        calls, seconds = self.values.get("calls", 0), self.values.get("seconds", 0)
        return bool((calls and self.hits >= calls) or (seconds and now >= self.since + seconds))

    def strikes(self) -> bool:
        """Whether, by its probability, it hits now."""
        return self.chance.random() < float(self.values.get("probability", 1.0))


@dataclass(frozen=True)
class Effect:
    """What a fault does to a call.

    Attributes:
        delay: seconds to wait first.
        error: the answer, instead of any work.
        cut: ``before`` or ``after`` the work; empty: no cut.
        answer: the answer, instead of any work.
        rewrite: changes the answer.
    """

    delay: float = 0.0
    error: AwsError | None = None
    cut: str = ""
    answer: Answered | None = None
    rewrite: Callable[[Answered], Answered] | None = None


def effect(fault: Fault, call: Call, now: float) -> Effect | None:
    """What the fault does to this call; ``None``: nothing. Counts a hit."""
    work = _EFFECTS.get(fault.kind.name)
    if work is None or fault.over(now) or not concerns(fault, call):
        return None
    found = work(fault, call, now) if fault.strikes() else None
    fault.hits += found is not None
    return found


def concerns(fault: Fault, call: Call) -> bool:
    """Whether the call is in the fault's scope."""
    kind, values, preset = fault.kind, fault.values, fault.preset
    services = {values.get("service"), kind.service, preset.service if preset else ""} - {"", None}
    if services - {call.service}:
        return False
    if values.get("operation") and values["operation"] != call.operation:
        return False
    if any(shared and call.operation not in shared for shared in (kind.operations, preset and preset.operations)):
        return False
    cluster, queue = values.get("cluster"), values.get("queue")
    if cluster and (call.service != "ecs" or cluster != last_word(call.request.get("cluster") or "default")):
        return False
    return not queue or queue == last_word(call.request.get("jobQueue") or "")


def delays_of(faults: Sequence[Fault], source: str, now: float) -> tuple[float, ...]:
    """When, in seconds from now, to send an event: once, never, or twice. Normally ``(0.0,)``."""
    for fault in faults:
        values = fault.values
        fits = fault.kind.name == "events" and values["source"] in {"", source} and not fault.over(now)
        if fits and fault.strikes():
            fault.hits += 1
            late = fault.chance.uniform(0, values["spread"])
            return {"lose": (), "duplicate": (0.0, late), "reorder": (late,)}[values["how"]]
    return (0.0,)


def last_word(reference: str) -> str:
    """The name at the end of an ARN or a plain name."""
    return reference.rsplit("/", 1)[-1]


def throttled(service: str) -> AwsError:
    """A service's own throttling error."""
    code, text, status = THROTTLED.get(service, _THROTTLED_ELSEWHERE)
    return AwsError(code, text, status)


def _throttle(fault: Fault, call: Call, now: float) -> Effect | None:
    assert fault.bucket is not None
    preset = fault.preset
    tokens = call.request.get("count", 1) if preset and preset.by_count else 1
    return None if fault.bucket.take(tokens, now) else Effect(error=throttled(call.service))


def _latency(fault: Fault, _call: Call, _now: float) -> Effect:
    return Effect(delay=fault.values["delay"] + fault.chance.uniform(0, fault.values["jitter"]))


def _cut(fault: Fault, _call: Call, _now: float) -> Effect:
    return Effect(cut=fault.values["when"])


def _error(fault: Fault, _call: Call, _now: float) -> Effect:
    return Effect(error=AwsError(fault.values["code"], fault.values["message"], fault.values["status"]))


def _missing(fault: Fault, _call: Call, now: float) -> Effect:
    younger = fault.values["younger"]

    def hidden(task: Mapping[str, Any]) -> bool:
        created = task.get("createdAt")
        return not younger or (isinstance(created, datetime) and now - created.timestamp() < younger)

    def without(answer: Answered) -> Answered:
        gone = [task for task in answer["tasks"] if hidden(task)]
        failures = [{"arn": task["taskArn"], "reason": "MISSING"} for task in gone]
        return {
            **answer,
            "tasks": [task for task in answer["tasks"] if task not in gone],
            "failures": [*answer.get("failures", ()), *failures],
        }

    return Effect(rewrite=without)


def _capacity(fault: Fault, call: Call, _now: float) -> Effect | None:
    provider, request = fault.values["provider"], call.request
    if (call.service, call.operation) != ("ecs", "RunTask"):
        return None
    wanted = {item["capacityProvider"] for item in request.get("capacityProviderStrategy", ())}
    if provider and provider not in wanted | {request.get("launchType")}:
        return None
    failures = [{"reason": fault.values["reason"]} for _ in range(request.get("count", 1))]
    return Effect(answer={"tasks": [], "failures": failures})


_EFFECTS: Mapping[str, Callable[[Fault, Call, float], Effect | None]] = {
    "throttle": _throttle,
    "latency": _latency,
    "cut": _cut,
    "error": _error,
    "missing": _missing,
    "capacity": _capacity,
}
