"""Crews that fly orders on the local cloud's ECS with a queue of events, and count how often they look."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from tests.local.drivers import aws_variables, ecs_section
from tests.local.ecs_cloud import ACCOUNT, REGION, definition

from skylift.aws.clients import forget
from skylift.core.attempt import Observation
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.fleet.flight import News, Order, Stage
from skylift.executors.fleet.settle import WorkloadKind
from skylift.executors.fleet.threads import FleetThreads
from skylift.executors.fleet.timing import Timing

QUEUE = "heard"
NEVER: dict[str, float] = {"young": 3600, "old": 3600, "reconcile": 3600}
"""Intervals so long that nothing is polled before a test is over."""


class CountedLooks:
    """A compute whose looks are counted; all the rest is its own."""

    def __init__(self, compute: Any) -> None:
        self._compute = compute
        self.looks = 0

    def observe(self, refs: Sequence[str]) -> list[Observation]:
        self.looks += 1
        found: list[Observation] = self._compute.observe(refs)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compute, name)


class Scheduler:
    """What one scheduler has of ours."""

    def __init__(self, **intervals: float) -> None:
        executor = AwsEcsExecutor(parallelism=32)
        self.compute = CountedLooks(executor.compute)
        source = executor.make_source()
        numbers: Any = {"most_attempts": 1, "eventful": source is not None, **intervals}
        self.threads = FleetThreads(self.compute, Timing(**numbers), source, most_seconds_to_end=5)
        self.ended: dict[str, tuple[float, News]] = {}
        self.threads.start()

    def order(self, number: int = 1) -> list[str]:
        """So many new orders; their external ids."""
        names = [str(uuid.uuid4()) for _ in range(number)]
        for name in names:
            self.threads.fleet.order(Order(name, WorkloadKind.TASK, name, lambda: "{}"))
        return names

    def listen(self) -> None:
        """Takes the news that there is."""
        for news in self.threads.fleet.drain():
            if news.stage is Stage.ENDED:
                self.ended[news.order.external_id] = (time.time(), news)

    def hear(self, *names: str, seconds: float = 60) -> list[News]:
        """The ends of these."""
        deadline = time.monotonic() + seconds
        while not set(names) <= set(self.ended):
            assert time.monotonic() < deadline, f"{len(self.ended)} of {len(names)} ended"
            self.listen()
            time.sleep(0.002)
        return [self.ended[name][1] for name in names]


def aim(monkeypatch: pytest.MonkeyPatch, url: str, **options: str) -> None:
    """Airflow's configuration and AWS's, for this cloud."""
    wanted = {
        **aws_variables(url),
        **ecs_section(),
        "AIRFLOW__SKYLIFT__EVENTS_QUEUE": QUEUE,
        "AIRFLOW__SKYLIFT__LAST_LINES": "0",
        **options,
    }
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    forget()


def furnish(make: Any, shell: str) -> None:
    """A definition whose containers do what ``shell`` says, whatever their command; queue and rule.

    Args:
        make: gives a client by the service's name.
    """
    make("ecs").register_task_definition(**definition("true", entryPoint=["sh", "-c", shell, "--"]))
    make("sqs").create_queue(QueueName=QUEUE)
    pattern = {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {"lastStatus": [{"anything-but": ["PROVISIONING", "PENDING", "ACTIVATING"]}]},
    }
    make("events").put_rule(Name=QUEUE, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{QUEUE}"}
    make("events").put_targets(Rule=QUEUE, Targets=[target])
