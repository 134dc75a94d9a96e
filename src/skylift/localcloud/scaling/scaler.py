"""The loop that scales: looks at policies and scheduled actions, decides (``decision.py``), and changes services."""

from __future__ import annotations

import asyncio
import logging
import math
import uuid

from skylift.core.clock import Clock
from skylift.core.errors import Unavailable
from skylift.localcloud.occurrences import LAST, Cron, next_occurrence
from skylift.localcloud.ports import Document
from skylift.localcloud.scaling.decision import CapacityLimits, LastScaled, decide
from skylift.localcloud.scaling.interfaces import ScaledServices, ScalingMetrics
from skylift.localcloud.scaling.readings import steppings_of, trackings_of
from skylift.localcloud.scaling.store import KEPT_ACTIVITIES_SECONDS, RecordKind, ScalingRecord, ScalingStore
from skylift.wire.errors import AwsError

LOOK_SECONDS = 15.0
_LATE_SECONDS = 300.0
"""If an occurrence is later than this (the local cloud did not run), it is done once, for all that were missed."""
_log = logging.getLogger(__name__)


class Scaler:
    """Acts on everything that is registered.

    Attributes:
        services: ECS.
        metrics: CloudWatch.
        cron: understands cron expressions.
    """

    def __init__(
        self, store: ScalingStore, services: ScaledServices, metrics: ScalingMetrics, cron: Cron, clock: Clock
    ) -> None:
        self.services = services
        self.metrics = metrics
        self.cron = cron
        self._store = store
        self._clock = clock
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Looks now instead of at the next turn."""
        self._bell.set()

    async def run(self) -> None:
        """Looks until it is cancelled. Without a policy or a scheduled action, it waits to be rung."""
        while True:
            self._bell.clear()
            self.look()
            try:
                await asyncio.wait_for(self._bell.wait(), self._pause())
            except TimeoutError:
                continue

    def look(self) -> None:
        """One turn. What cannot be done now (a full disk) is done at the next."""
        now = self._clock()
        for target in self._store.all(RecordKind.TARGET):
            try:
                self._act_by_clock(target, now)
                self._act_by_policies(target, now)
            except (AwsError, Unavailable) as error:
                _log.warning("%s cannot be scaled now: %s", target.resource, error)

    def keep_within(self, target: ScalingRecord) -> None:
        """Brings a service within the limits of its target. Raises ``AwsError`` or ``Unavailable``."""
        capacity = self.services.desired(target.resource)
        least, most = target.shown["MinCapacity"], target.shown["MaxCapacity"]
        if capacity is not None and capacity < least:
            self._change(target, least, f"minimum capacity was set to {least}")
        elif capacity is not None and capacity > most:
            self._change(target, most, f"maximum capacity was set to {most}")

    def _act_by_clock(self, target: ScalingRecord, now: float) -> None:
        if target.shown["SuspendedState"]["ScheduledScalingSuspended"]:
            return
        for action in self._store.all(RecordKind.ACTION, target.resource):
            due = next_occurrence(schedule_of(action.shown, action.state), self.cron)
            if due is not None and due <= now:
                wanted = dict(action.shown["ScalableTargetAction"])
                action.state[LAST] = due if now - due < _LATE_SECONDS else now
                self._store.save(action)
                self._limit(target, wanted, action.shown["ScheduledActionName"])

    def _limit(self, target: ScalingRecord, wanted: dict[str, int], name: str) -> None:
        """New limits; the one that is not given gives way if it must."""
        least = wanted.get("MinCapacity", min(target.shown["MinCapacity"], wanted.get("MaxCapacity", math.inf)))
        most = wanted.get("MaxCapacity", max(target.shown["MaxCapacity"], least))
        target.shown |= {"MinCapacity": least, "MaxCapacity": most}
        self._store.save(target)
        words = f"min capacity to {least} and max capacity to {most}"
        self._note(target, f"Setting {words}", f"scheduled action name {name} was triggered", f"set {words}")
        self.keep_within(target)

    def _act_by_policies(self, target: ScalingRecord, now: float) -> None:
        policies = self._store.all(RecordKind.POLICY, target.resource)
        capacity = self.services.desired(target.resource) if policies else None
        if capacity is None:
            return
        suspended = target.shown["SuspendedState"]
        limits = CapacityLimits(
            target.shown["MinCapacity"],
            target.shown["MaxCapacity"],
            not suspended["DynamicScalingOutSuspended"],
            not suspended["DynamicScalingInSuspended"],
        )
        last = LastScaled(**target.state["last"]) if "last" in target.state else LastScaled()
        trackings, steppings = trackings_of(policies, self.metrics), steppings_of(policies, self.metrics)
        made = decide(capacity, limits, trackings, steppings, last, now)
        if made is None:
            return
        self._change(target, made.capacity, made.cause)
        changed = {"out_at": now, "out_from": capacity} if made.capacity > capacity else {"in_at": now}
        target.state["last"] = {**target.state.get("last", {}), **changed}
        self._store.save(target)

    def _change(self, target: ScalingRecord, count: int, cause: str) -> None:
        self.services.change(target.resource, count)
        words = f"set desired count to {count}. Change successfully fulfilled by ecs."
        self._note(target, f"Setting desired count to {count}.", cause, words)

    def _note(self, target: ScalingRecord, description: str, cause: str, done: str) -> None:
        now, number = self._clock(), str(uuid.uuid4())
        document = {
            "ActivityId": number,
            **{name: target.shown[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")},
            "Description": description,
            "Cause": cause,
            "StartTime": now,
            "EndTime": now,
            "StatusCode": "Successful",
            "StatusMessage": f"Successfully {done}",
        }
        self._store.save(ScalingRecord(RecordKind.ACTIVITY, number, document))
        self._store.forget_activities(now - KEPT_ACTIVITIES_SECONDS)

    def _pause(self) -> float | None:
        """Seconds to the next turn; ``None``: until it is rung."""
        turns = [LOOK_SECONDS] if self._store.all(RecordKind.POLICY) else []
        dues = [
            next_occurrence(schedule_of(one.shown, one.state), self.cron) for one in self._store.all(RecordKind.ACTION)
        ]
        turns += [max(0.05, min(due - self._clock(), LOOK_SECONDS)) for due in dues if due is not None]
        return min(turns, default=None)


def schedule_of(shown: Document, state: Document) -> Document:
    """A scheduled action as ``next_occurrence`` wants it."""
    return {
        "ScheduleExpression": shown["Schedule"],
        "ScheduleExpressionTimezone": shown.get("Timezone"),
        "StartDate": shown.get("StartTime"),
        "EndDate": shown.get("EndTime"),
        "CreationDate": state["put"],
        **{name: state[name] for name in (LAST,) if name in state},
    }
