"""Faults: makes the local cloud misbehave as AWS does, so that people can prove that their code copes.

Active faults are only in memory: a restart is a clean start. ``kinds`` lists the kinds, ``effects`` says what one does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from skylift.core.clock import Clock
from skylift.core.errors import Refused
from skylift.localcloud.faults.effects import Effect, Fault, delays_of, effect
from skylift.localcloud.faults.kinds import KINDS
from skylift.localcloud.ports import Capacity
from skylift.wire.intercept import Call, ConnectionCut, Interception, Interceptor

Action = Callable[[Fault], int]
"""Performs a fault that acts once; returns how many containers or ECS tasks it hit."""


class Faults(Interceptor, Capacity):
    """The faults of one local cloud; the wire's interceptor. Belongs to one event loop.

    Args:
        clock: seconds since the epoch.
        sleep: waits so many seconds.
    """

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._actions: dict[str, Action] = {}
        self._sleep = sleep
        self._faults: dict[str, Fault] = {}
        self._numbers = itertools.count(1)

    def perform_with(self, actions: Mapping[str, Action]) -> None:
        """What faults that act once do, by kind; what they act on asks this for capacity, and so is made later."""
        self._actions = dict(actions)

    def set(self, kind: str, values: Mapping[str, object] | None = None, *, name: str = "") -> dict[str, Any]:
        """Sets a fault, or performs it if its kind acts once. Replaces a fault with the same name.

        Args:
            kind: see ``kinds.KINDS``.
            values: by parameter; texts or values.
            name: default: the kind and a number.

        Returns:
            The fault as ``shown`` has it.

        Raises:
            Refused: no such kind or parameter, or a value that cannot be used.
        """
        if kind not in KINDS:
            raise Refused(f"there is no fault {kind!r}; there are {', '.join(KINDS)}")
        texts = {key: str(value) for key, value in (values or {}).items()}
        fault = Fault(name or f"{kind}-{next(self._numbers)}", KINDS[kind], KINDS[kind].read(texts), self._clock())
        if not fault.kind.at_once:
            self._faults[fault.name] = fault
        elif kind in self._actions:
            fault.hits = self._actions[kind](fault)
        return self._shown(fault)

    def clear(self, name: str = "") -> int:
        """Ends one fault, or all. Returns how many there were."""
        names = [name] if name else list(self._faults)
        return sum(self._faults.pop(each, None) is not None for each in names)

    def shown(self) -> list[dict[str, Any]]:
        """The active faults, as JSON."""
        return [self._shown(fault) for fault in self._live()]

    async def interception(self, call: Call) -> Interception:
        """See ``wire.intercept.Interceptor``. First all delays, then the first refusal, then changes of the
        answer."""
        if not self._faults:
            return Interception()
        now = self._clock()
        found = [each for fault in self._live() if (each := effect(fault, call, now)) is not None]
        if delay := sum(each.delay for each in found):
            await self._sleep(delay)
        for each in found:
            if each.error is not None:
                raise each.error
            if each.cut == "before":
                raise ConnectionCut
        return _interception(found)

    def has_room(self, service: str, place: str) -> bool:
        """See ``Capacity``: for schedulers, which start waiting work without a call."""
        key = "cluster" if service == "ecs" else "queue"
        for fault in self._live():
            values = fault.values
            in_scope = fault.kind.name == "capacity" and values["service"] in {"", service} and not values["provider"]
            other = "queue" if key == "cluster" else "cluster"
            if in_scope and not values[other] and values[key] in {"", place} and fault.strikes():
                fault.hits += 1
                return False
        return True

    def event_delays(self, source: str) -> tuple[float, ...]:
        """When to send an event, in seconds from now: ``(0.0,)`` normally, ``()`` never, two values: twice.

        Args:
            source: ``aws.ecs`` or ``aws.batch``.
        """
        return delays_of(self._live(), source, self._clock()) if self._faults else (0.0,)

    def _live(self) -> list[Fault]:
        now = self._clock()
        self._faults = {name: fault for name, fault in self._faults.items() if not fault.over(now)}
        return list(self._faults.values())

    def _shown(self, fault: Fault) -> dict[str, Any]:
        chosen = {
            parameter.name: fault.values[parameter.name]
            for parameter in fault.kind.parameters
            if fault.values[parameter.name] != parameter.default
        }
        return {"name": fault.name, "kind": fault.kind.name, "values": chosen, "since": fault.since, "hits": fault.hits}


def _interception(effects: list[Effect]) -> Interception:
    answer = next((each.answer for each in effects if each.answer is not None), None)
    rewrites = [each.rewrite for each in effects if each.rewrite is not None]

    def rewrite(answered: Mapping[str, Any]) -> Mapping[str, Any]:
        for change in rewrites:
            answered = change(answered)
        return answered

    return Interception(answer, rewrite if rewrites else None, any(each.cut == "after" for each in effects))
