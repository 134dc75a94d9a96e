"""How many ECS tasks a service should have, by its scaling policies. Pure.

Source: Application Auto Scaling user guide, "How target tracking scaling works", "How step scaling works". AWS waits
three minutes above the target before it scales out, and fifteen below it before it scales in; here one minute's value
decides. As there, nothing is scaled in before the value is 10 % below the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LOW = 0.9


@dataclass(frozen=True)
class StepAdjustment:
    """One step: for a breach from ``lower`` to ``upper``, relative to the alarm's threshold."""

    lower: float
    upper: float
    amount: int

    def holds(self, breach: float) -> bool:
        """Whether this step is for that breach: an interval is open on the side that is further from the threshold."""
        return self.lower <= breach < self.upper if breach >= 0 else self.lower < breach <= self.upper


@dataclass(frozen=True)
class Tracking:
    """A target tracking policy, with the metric's value; ``None``: there is none now."""

    name: str
    metric: str
    value: float | None
    target: float
    scales_in: bool = True
    out_cooldown: float = 300
    in_cooldown: float = 300

    @property
    def is_low(self) -> bool:
        """Whether it would scale in."""
        return self.value is not None and self.value < _LOW * self.target

    @property
    def cause(self) -> str:
        """For the activity."""
        return f"{self.metric} of {self.value:g} against a target of {self.target:g} triggered policy {self.name}"

    def wanted(self, capacity: int) -> int:
        """How many there should be if there are so many now."""
        ratio = (self.value or 0.0) / self.target
        return max(math.ceil(round(capacity * ratio, 9)), 1 if ratio > 1 else 0)


@dataclass(frozen=True)
class Stepping:
    """A step scaling policy whose alarm is in the state ALARM: ``breach`` is the metric's value less the threshold."""

    name: str
    alarm: str
    breach: float
    steps: tuple[StepAdjustment, ...]
    adjustment: str = "ChangeInCapacity"
    magnitude: int = 0
    cooldown: float = 300

    @property
    def cause(self) -> str:
        """For the activity."""
        return f"monitor alarm {self.alarm} in state ALARM triggered policy {self.name}"

    def wanted(self, capacity: int) -> int:
        """How many there should be if there are so many now."""
        step = next((one for one in self.steps if one.holds(self.breach)), None)
        if step is None:
            return capacity
        if self.adjustment == "ExactCapacity":
            return step.amount
        change = step.amount
        if self.adjustment == "PercentChangeInCapacity":
            exact = capacity * step.amount / 100
            change = int(exact) or int(math.copysign(1, exact) if exact else 0)
            if change and abs(change) < self.magnitude:
                change = int(math.copysign(self.magnitude, change))
        return max(0, capacity + change)


@dataclass(frozen=True)
class CapacityLimits:
    """What a scalable target allows."""

    least: int
    most: int
    may_scale_out: bool = True
    may_scale_in: bool = True


@dataclass(frozen=True)
class LastScaled:
    """When it was last scaled; ``out_from`` is the capacity before the last scaling out."""

    out_at: float = -math.inf
    out_from: int = 0
    in_at: float = -math.inf


@dataclass(frozen=True)
class ScalingDecision:
    """The new capacity, and why."""

    capacity: int
    cause: str


def decide(
    capacity: int,
    limits: CapacityLimits,
    trackings: Sequence[Tracking],
    steppings: Sequence[Stepping],
    last: LastScaled,
    now: float,
) -> ScalingDecision | None:
    """What to do; ``None``: nothing.

    The policy that wants most wins. During the cooldown after scaling out, the capacity that this added counts as a
    part of the next. Target tracking policies scale in only if all of them want to.
    """
    outs = [
        ScalingDecision(min(wanted, limits.most), one.cause)
        for one, cooldown in _higher(trackings, steppings)
        if (wanted := one.wanted(last.out_from if now < last.out_at + cooldown else capacity)) > capacity
    ]
    outs = [one for one in outs if one.capacity > capacity]
    if outs and limits.may_scale_out:
        return max(outs, key=lambda one: one.capacity)
    if outs or not limits.may_scale_in:
        return None
    scaled = max(last.out_at, last.in_at)
    ins = [
        ScalingDecision(max(wanted, limits.least), one.cause)
        for one, cooldown in _lower(trackings, steppings)
        if now >= scaled + cooldown and (wanted := one.wanted(capacity)) < capacity
    ]
    ins = [one for one in ins if one.capacity < capacity]
    return max(ins, key=lambda one: one.capacity) if ins else None


def _higher(trackings: Sequence[Tracking], steppings: Sequence[Stepping]) -> list[tuple[Tracking | Stepping, float]]:
    high = [one for one in trackings if one.value is not None and one.value > one.target]
    return [*((one, one.out_cooldown) for one in high), *((one, one.cooldown) for one in steppings)]


def _lower(trackings: Sequence[Tracking], steppings: Sequence[Stepping]) -> list[tuple[Tracking | Stepping, float]]:
    able = [one for one in trackings if one.scales_in]
    agreed = able if all(one.is_low for one in able) else []
    return [*((one, one.in_cooldown) for one in agreed), *((one, one.cooldown) for one in steppings)]
