"""When a target is healthy: the pure decision from its probes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skylift.localcloud.elb.health import QUICK_SECONDS, Health, Probe, TargetCheck, judged, matches, pause

pytestmark = pytest.mark.unit
CHECK = TargetCheck("HTTP", "traffic-port", "/", "200", interval=10, timeout=2, healthy_after=3, unhealthy_after=2)
GOOD, BAD = Probe(True), Probe(False, "Target.Timeout", "Request timed out")


def run(health: Health, *probes: tuple[float, Probe]) -> Health:
    for now, probe in probes:
        health = judged(health, probe, CHECK, now)
    return health


def test_a_new_target_is_healthy_after_its_first_success() -> None:
    assert run(Health(), (0, BAD), (0.2, BAD), (0.4, GOOD)).state == "healthy"


def test_a_new_target_that_is_looked_at_often_gets_as_long_as_aws_gives_it() -> None:
    often = [(tick / 5, BAD) for tick in range(45)]
    assert run(Health(), *often).state == "initial"
    late = run(Health(), *often, (10.0, BAD))
    assert (late.state, late.reason) == ("unhealthy", "Target.Timeout")


def test_a_healthy_target_falls_after_the_threshold_in_a_row_and_rises_likewise() -> None:
    healthy = Health("healthy", "", "")
    assert run(healthy, (0, BAD), (10, GOOD), (20, BAD)).state == "healthy"
    fallen = run(healthy, (0, BAD), (10, BAD))
    assert fallen.state == "unhealthy"
    assert run(fallen, (20, GOOD), (30, GOOD)).state == "unhealthy"
    assert run(fallen, (20, GOOD), (30, GOOD), (40, BAD), (50, GOOD), (60, GOOD)).state == "unhealthy"
    assert run(fallen, (20, GOOD), (30, GOOD), (40, GOOD)).state == "healthy"


def test_a_new_target_is_looked_at_often_but_not_for_ever() -> None:
    assert pause(Health(since=0), CHECK, 1) == QUICK_SECONDS
    assert pause(Health(since=0), CHECK, 1000) == CHECK.interval
    assert pause(replace(Health(), state="healthy"), CHECK, 1) == CHECK.interval


@pytest.mark.parametrize(
    ("matcher", "code", "good"),
    [
        ("200", 200, True),
        ("200", 201, False),
        ("200-399", 302, True),
        ("200,302", 302, True),
        ("200,300-301", 302, False),
    ],
)
def test_matchers(matcher: str, code: int, good: bool) -> None:
    assert matches(matcher, code) is good
