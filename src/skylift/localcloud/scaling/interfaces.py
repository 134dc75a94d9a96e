"""What scaling needs from CloudWatch, as a Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class ScalingMetric:
    """A metric, and the statistic of it that counts."""

    namespace: str
    name: str
    dimensions: Mapping[str, str] = field(default_factory=dict)
    statistic: str = "Average"


@dataclass(frozen=True)
class PolicyAlarm:
    """An alarm that has a policy as its action.

    Attributes:
        breach: the metric's value less the threshold; ``None``: the alarm is not in the state ALARM.
    """

    name: str
    arn: str
    breach: float | None


class ScalingMetrics(Protocol):
    """CloudWatch, as policies read it."""

    def newest(self, metric: ScalingMetric) -> float | None:
        """The statistic of the minute before the newest value; ``None``: there is no value of the last minutes."""
        ...

    def alarms(self, policy: str) -> Sequence[PolicyAlarm]:
        """The alarms with a policy (ARN) among their actions."""
        ...


class ScaledServices(Protocol):
    """ECS, as scaling changes it. A resource is ``service/CLUSTER/NAME``."""

    def desired(self, resource: str) -> int | None:
        """The desired count; ``None``: there is no such active service."""
        ...

    def change(self, resource: str, count: int) -> None:
        """Sets the desired count. Raises ``AwsError`` or ``Unavailable``."""
        ...
