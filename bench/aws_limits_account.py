"""One account of the bench's AWS: containers that play a script, the limits, faults, crash points and the log of its
calls.

Containers live by the clock, not by timers: their state is worked out when somebody looks (or by ``aws_limits_queue``
when there are events), so that 20,000 of them cost nothing while nobody looks.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import itertools
import json
import os
import signal
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.faults.plan import Faults
from skylift.wire.errors import AwsError
from skylift.wire.intercept import Call, ConnectionCut, Interception

LATENCY = 0.1
"""Seconds that every call takes."""
LIMITS: tuple[dict[str, Any], ...] = (
    {"preset": "ecs-modify"},
    {"preset": "ecs-read"},
    {"preset": "fargate-launch"},
    # RunTask on Fargate, burst and sustained (AmazonECS/latest/userguide/throttling.html).
    {"service": "ecs", "operation": "RunTask", "burst": 20, "rate": 20},
    {"service": "ecs", "operation": "DescribeClusters", "burst": 50, "rate": 20},
    {"preset": "batch"},
)
"""AWS's published token buckets, as the local cloud's ``throttle`` fault takes them."""


@dataclass(frozen=True)
class Plan:
    """How a container lives.

    Attributes:
        waiting: seconds until it runs.
        running: seconds until it ends by itself; ``None``: it runs until it is told to end.
        exit_code: ``None``: lost.
        reason: the container's reason.
        stop_code: ECS's stop code.
        stopped: ECS's stoppedReason, or Batch's statusReason.
        begins: whether the container starts at all.
    """

    waiting: float = 0.0
    running: float | None = None
    exit_code: int | None = 0
    reason: str = ""
    stop_code: str = "EssentialContainerExited"
    stopped: str = "Essential container in task exited"
    begins: bool = True


@dataclass(eq=False)
class Container:
    """One ECS task, Batch job or child of an array.

    Attributes:
        ref: the service's name for it.
        name: of the Airflow workload in it; "" when it cannot be told.
        request: of the call that made it.
        started: seconds since the epoch; ``None``: as its plan says.
        ended: when somebody or something ended it before its plan did.
        seen: when a call last named it.
    """

    ref: str
    name: str
    request: Mapping[str, Any]
    plan: Plan
    created: float
    ended: float | None = None
    seen: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    def state(self, now: float) -> str:
        """``waiting``, ``running`` or ``stopped``."""
        if now >= self.stops:
            return "stopped"
        return "running" if self.plan.begins and now >= self.starts else "waiting"

    @property
    def starts(self) -> float:
        """When it runs, if nothing ends it before."""
        return self.created + self.plan.waiting

    @property
    def stops(self) -> float:
        """When it is over; infinite: when it is told."""
        if self.ended is not None:
            return self.ended
        if not self.plan.begins:
            return self.starts
        return self.starts + self.plan.running if self.plan.running is not None else float("inf")

    @property
    def began(self) -> bool:
        """Whether it ever ran, once it is over."""
        return self.plan.begins and self.starts < self.stops

    def end(self, now: float, **plan: Any) -> None:
        """It ends now; ``plan`` says how."""
        self.ended = now
        self.plan = Plan(**{**vars(self.plan), **plan})


class Account:
    """See the file's text. Belongs to one event loop."""

    def __init__(self, clock: Clock = time.time) -> None:
        self.clock = clock
        self.faults = Faults(clock)
        self.containers: dict[str, Container] = {}
        self.named: dict[str, list[Container]] = defaultdict(list)
        self.plans: dict[str, list[Plan]] = {}
        self.tokens: dict[str, tuple[str, Container]] = {}
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[float, str, str]] = []
        self.crashes: list[dict[str, Any]] = []
        self.holds: list[dict[str, Any]] = []
        self.doubles: Counter[str] = Counter()
        self.mark = 0.0
        self.changed: Callable[[Container], None] = lambda _container: None
        self._counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    # Calls.

    async def interception(self, call: Call) -> Interception:
        """See ``wire.intercept.Interceptor``: the call is written down, then faults and crash points have their way."""
        operation = f"{call.service} {call.operation}"
        self._counts[operation] += 1
        number, at = self._counts[operation], len(self.calls)
        self.calls.append((self.clock(), operation, "ok"))
        try:
            if self._crash(operation, number, "before"):
                raise ConnectionCut  # it died before the request was on its way
            interception = await self.faults.interception(call)
        except (AwsError, ConnectionCut) as error:
            self.calls[at] = (*self.calls[at][:2], getattr(error, "code", "cut"))
            raise
        if interception.cut:
            self.calls[at] = (*self.calls[at][:2], "cut after")

        def after(answer: Mapping[str, Any]) -> Mapping[str, Any]:
            self._crash(operation, number, "after")
            return interception.rewrite(answer) if interception.rewrite else answer

        return Interception(interception.answer, after, interception.cut)

    async def hold(self, operation: str) -> None:
        """Work that is done, and whose answer is late."""
        for hold in self.holds:
            if hold["operation"] == operation and hold["number"] == self._counts[operation]:
                await asyncio.sleep(hold["seconds"])

    def _crash(self, operation: str, number: int, when: str) -> bool:
        """Kills whom a crash point names here, once; whether it did."""
        here = [
            one for one in self.crashes if (one["operation"], one["number"], one["when"]) == (operation, number, when)
        ]
        for point in here:
            self.crashes.remove(point)
            os.kill(point["pid"], signal.SIGKILL)
        return bool(here)

    # Containers.

    def make(self, ref: str, name: str, request: Mapping[str, Any], **extra: Any) -> Container:
        """A new container, which lives by the plan of its name: the first of several for the first container of that
        name."""
        plans = self.plans.get(name.partition("/")[0]) or self.plans.get("") or [Plan()]
        mates = self.named[name]
        now = self.clock()
        plan = plans[min(len(mates), len(plans) - 1)]
        if name and any(mate.state(now) != "stopped" for mate in mates):
            self.doubles[name] += 1
        container = Container(ref, name, request, plan, now, seen=now, extra=extra)
        self.containers[ref] = container
        mates.append(container)
        self.changed(container)
        return container

    def identity(self, command: list[str], environment: list[Mapping[str, str]], index: int = 0) -> str:
        """Of the Airflow workload in a container: its task id (or callback's), map index and try, from where its JSON
        is.

        In the command, in the S3 object that the environment names, or, for a child of an array, in the object that its
        line of the named list names (``skylift/executors/in_container/payload.py``); there it follows the program, as
        the last line.
        """
        text = unpacked(command[-1]) if command else ""
        for pair in environment:
            key = pair.get("value", "").removeprefix("s3://")
            if pair["name"] == "SKYLIFT_WORKLOADS":
                line = self.objects.get(key, b"").decode().splitlines()[index : index + 1]
                key = "/".join([*key.split("/")[:-2], *(word.strip() for word in line)])
            if pair["name"] in {"SKYLIFT_WORKLOAD", "SKYLIFT_WORKLOADS"}:
                text = self.objects.get(key, b"").decode().rpartition("\n")[2]
        try:
            workload = json.loads(text)
            if "ti" in workload:
                ti = workload["ti"]
                return f"{ti['task_id']}/{ti.get('map_index', -1)}/{ti['try_number']}"
            return f"{workload['callback']['data'].get('path', '')}/callback"
        except (ValueError, KeyError, TypeError):
            return ""

    def next_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{next(self._numbers):032x}"

    # What the bench asks.

    def alive(self) -> list[Container]:
        """All that are not over."""
        now = self.clock()
        return [one for one in self.containers.values() if one.state(now) != "stopped"]

    def stats(self) -> dict[str, Any]:
        """The referee's sheet, as JSON."""
        calls = Counter(operation for _, operation, _ in self.calls)
        bad = Counter(f"{operation} {code}" for _, operation, code in self.calls if code != "ok")
        good = [
            at for at, operation, code in self.calls if code == "ok" and operation.endswith(("RunTask", "SubmitJob"))
        ]
        alive = self.alive()
        return {
            "calls": dict(calls),
            "bad": dict(bad),
            "launched": {name: len(mates) for name, mates in self.named.items() if name},
            "containers": len(self.containers),
            "alive": Counter(one.state(self.clock()) for one in alive),
            "doubles": sum(self.doubles.values()),
            "orphans": sum(one.seen < self.mark for one in alive),
            "first_launch": min(good, default=None),
            "last_launch": max(good, default=None),
        }


def unpacked(word: str) -> str:
    """The workload's JSON in the last word of a command: as it is, or packed with its program."""
    try:
        text = zlib.decompress(base64.b85decode(word)).decode()
        return str(ast.literal_eval(text.rpartition("\nmain(")[2].removesuffix(")")).decode())
    except (ValueError, SyntaxError, AttributeError, zlib.error):
        return word if word.startswith("{") else ""
