"""How many ECS tasks a service should have: what its scaling policies, cooldowns and limits decide together."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.localcloud.scaling.decision import (
    CapacityLimits,
    LastScaled,
    StepAdjustment,
    Stepping,
    Tracking,
    decide,
)

pytestmark = pytest.mark.unit

LIMITS = CapacityLimits(1, 10)
NEVER = LastScaled()
INFINITE = float("inf")


def cpu(value: float | None, target: float = 50, **more: Any) -> Tracking:
    return Tracking("cpu", "CPUUtilization", value, target, **more)


def memory(value: float | None, target: float = 50, **more: Any) -> Tracking:
    return Tracking("memory", "MemoryUtilization", value, target, **more)


def steps(breach: float, *bounds: tuple[float, float, int], **more: Any) -> Stepping:
    return Stepping("steps", "alarm", breach, tuple(StepAdjustment(*one) for one in bounds), **more)


def capacity(
    now: int,
    *policies: Tracking | Stepping,
    limits: CapacityLimits = LIMITS,
    last: LastScaled = NEVER,
    at: float = 1000.0,
) -> int:
    """What is decided; the same as now if nothing is."""
    trackings = [one for one in policies if isinstance(one, Tracking)]
    steppings = [one for one in policies if isinstance(one, Stepping)]
    made = decide(now, limits, trackings, steppings, last, at)
    return now if made is None else made.capacity


@pytest.mark.parametrize(
    ("now", "value", "then"),
    [
        (2, 50, 2),
        (2, 51, 3),
        (2, 100, 4),
        (4, 60, 5),
        (4, 1000, 10),  # the limit
        (4, 45, 4),  # within 10 % of the target
        (4, 25, 2),
        (4, 44, 4),  # rounded up
        (4, 0, 1),  # the limit
        (0, 80, 1),
        (0, 50, 0),
        (4, None, 4),
        (10, 49.999999999, 10),
    ],
)
def test_target_tracking_follows_the_ratio(now: int, value: float | None, then: int) -> None:
    assert capacity(now, cpu(value)) == then


def test_the_policy_that_wants_most_wins() -> None:
    assert capacity(2, cpu(75), memory(150)) == 6
    assert capacity(2, cpu(75), memory(10)) == 3
    made = decide(2, LIMITS, [cpu(75), memory(150)], [], NEVER, 0)
    assert made is not None
    assert made.cause == "MemoryUtilization of 150 against a target of 50 triggered policy memory"


def test_it_scales_in_only_if_all_agree() -> None:
    assert capacity(8, cpu(10), memory(25)) == 4
    assert capacity(8, cpu(10), memory(48)) == 8
    assert capacity(8, cpu(10), memory(None)) == 8
    assert capacity(8, cpu(10), memory(48, scales_in=False)) == 2
    assert capacity(8, cpu(10, scales_in=False)) == 8


def test_a_cooldown_after_scaling_out_lets_only_a_larger_one_pass() -> None:
    last = LastScaled(out_at=900, out_from=2)
    assert capacity(4, cpu(100), last=last) == 4
    assert capacity(4, cpu(150), last=last) == 6
    assert capacity(4, cpu(100), last=last, at=1200) == 8
    assert capacity(4, cpu(100, out_cooldown=60), last=last) == 8


def test_a_cooldown_stops_scaling_in_but_not_out() -> None:
    last = LastScaled(in_at=900)
    assert capacity(4, cpu(10), last=last) == 4
    assert capacity(4, cpu(10), last=last, at=1200) == 1
    assert capacity(4, cpu(100), last=last) == 8
    assert capacity(4, cpu(10), last=LastScaled(out_at=900, out_from=2)) == 4


def test_what_is_suspended_does_not_happen() -> None:
    assert capacity(2, cpu(100), limits=CapacityLimits(1, 10, may_scale_out=False)) == 2
    assert capacity(4, cpu(10), limits=CapacityLimits(1, 10, may_scale_in=False)) == 4
    assert capacity(4, cpu(10), limits=CapacityLimits(1, 10, may_scale_out=False)) == 1


UP = (0.0, 15.0, 10), (15.0, 25.0, 20), (25.0, INFINITE, 30)
DOWN = (-25.0, 0.0, -1), (-INFINITE, -25.0, -3)


@pytest.mark.parametrize(("breach", "step"), [(0, 10), (14.9, 10), (15, 20), (25, 30), (1000, 30)])
def test_a_step_above_holds_from_its_lower_bound(breach: float, step: int) -> None:
    assert capacity(1, steps(breach, *UP), limits=CapacityLimits(0, 100)) == 1 + step


@pytest.mark.parametrize(("breach", "step"), [(-0.1, -1), (-24.9, -1), (-25, -3), (-1000, -3)])
def test_a_step_below_holds_to_its_upper_bound(breach: float, step: int) -> None:
    assert capacity(9, steps(breach, *DOWN)) == 9 + step


@pytest.mark.parametrize(
    ("now", "amount", "magnitude", "then"),
    [(10, 10, 0, 11), (10, 15, 0, 11), (4, 10, 0, 5), (4, 10, 2, 6), (10, -15, 0, 9), (4, -10, 0, 3), (8, -10, 3, 5)],
)
def test_a_percentage_is_rounded_towards_zero_but_never_to_nothing(
    now: int, amount: int, magnitude: int, then: int
) -> None:
    policy = steps(0, (0, INFINITE, amount), adjustment="PercentChangeInCapacity", magnitude=magnitude)
    assert capacity(now, policy, limits=CapacityLimits(0, 100)) == then


def test_an_exact_capacity_is_kept_within_the_limits() -> None:
    assert capacity(2, steps(0, (0, INFINITE, 7), adjustment="ExactCapacity")) == 7
    assert capacity(2, steps(0, (0, INFINITE, 70), adjustment="ExactCapacity")) == 10
    assert capacity(2, steps(0, (0, INFINITE, 0), adjustment="ExactCapacity")) == 1


def test_step_scaling_out_counts_what_its_cooldown_has_added() -> None:
    last = LastScaled(out_at=900, out_from=2)
    assert capacity(4, steps(0, (0, INFINITE, 2)), last=last) == 4
    assert capacity(4, steps(0, (0, INFINITE, 3)), last=last) == 5
    assert capacity(4, steps(0, (0, INFINITE, 2)), last=last, at=1200) == 6
    assert capacity(4, steps(5, (0, 1, 2))) == 4


def test_a_step_in_does_not_win_over_a_target_out() -> None:
    assert capacity(4, steps(-1, (-INFINITE, 0, -3)), cpu(100)) == 8
