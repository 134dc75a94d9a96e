"""How late the executor knows of a container's end: by events, and by asking. On the local cloud's ECS; prints a table.

Each container sleeps for a time of its own, so that ends and looks meet by chance. The end is ECS's own
``executionStoppedAt``.

    .venv/bin/python bench/events.py [number of ECS tasks of each way]
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.local.ecs_cloud import Cloud, furnished
from tests.local.events_threads import NEVER, Scheduler, aim, furnish

SHELL = 'exec python -c "import random, time; time.sleep(1 + 10 * random.random())"'


def main(number: int) -> None:
    """Measures all ways and prints them."""
    logging.disable(logging.WARNING)
    print("| way | containers | median | 95 % | most |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home, furnished(Path(home)) as cloud, pytest.MonkeyPatch.context() as patch:
        furnish(cloud.client, SHELL)
        aim(patch, cloud.url)
        show("events, one scheduler", lateness(cloud, number, 1, **NEVER))
        show("events, two schedulers on one queue", lateness(cloud, number, 2, **NEVER))
        show("events, three schedulers on one queue", lateness(cloud, number, 3, **NEVER))
        patch.setenv("AIRFLOW__SKYLIFT__EVENTS_QUEUE", "")
        show("asking every second (a young container)", lateness(cloud, number, 1, young=1.0, old=1.0))
        show("asking every ten seconds (one that ran for minutes)", lateness(cloud, number, 1, young=10.0, old=10.0))


def lateness(cloud: Cloud, number: int, schedulers: int, **intervals: float) -> list[float]:
    """Seconds from the end of each container to its news, in ascending order."""
    started = [Scheduler(**intervals) for _ in range(schedulers)]
    try:
        names = [scheduler.order(number // schedulers) for scheduler in started]
        while not all(set(own) <= set(scheduler.ended) for own, scheduler in zip(names, started, strict=True)):
            for scheduler in started:
                scheduler.listen()
            time.sleep(0.002)
        ends = ends_of(cloud.client())
        return sorted(when - ends[name] for scheduler in started for name, (when, _) in scheduler.ended.items())
    finally:
        for scheduler in started:
            scheduler.threads.end()


def ends_of(ecs: Any) -> dict[str, float]:
    """When the containers ended, by external id."""
    found = {}
    for page in ecs.get_paginator("list_tasks").paginate(desiredStatus="STOPPED"):
        for task in ecs.describe_tasks(tasks=page["taskArns"])["tasks"]:
            found[task["startedBy"]] = task["executionStoppedAt"].timestamp()
    return found


def show(way: str, seconds: list[float]) -> None:
    """One line."""
    p95 = seconds[int(0.95 * (len(seconds) - 1))]
    print(f"| {way} | {len(seconds)} | {statistics.median(seconds):.3f} s | {p95:.3f} s | {seconds[-1]:.3f} s |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
