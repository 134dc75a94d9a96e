"""Scenarios on the real clock: launching, a busy heartbeat, an idle minute, overhead with many workloads."""

from __future__ import annotations

import resource
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.aws_limits import Aws
from bench.executors_airflow import loop, started, task_instance, workload


def launch(
    aws: Aws, whose: str, kind: str, *, count: int = 500, mapped: bool = False, seconds: float = 150
) -> dict[str, Any]:
    """So many workloads queued at once: how long until the last container is made, and for how long the scheduler stood
    still."""
    aws.do("limit")
    executor = started(whose, kind)
    beats: list[float] = []
    begun = time.time()
    for number in range(count):
        one = workload("mapped", map_index=number) if mapped else workload(f"t{number}")
        executor.queue_workload(one, session=None)
    took = loop(executor, beats, lambda: _made(aws, count), seconds=seconds, pause=0.1)
    stats = aws.do("stats")
    return {
        "launched": sum(stats["launched"].values()),
        "seconds": (stats["last_launch"] or time.time()) - begun,
        "scheduler_blocked": sum(beats) / took,
        "calls": stats["calls"],
        "throttled": stats["bad"],
        "doubles": stats["doubles"],
        **_beats(beats),
    }


def _made(aws: Aws, count: int) -> bool:
    return sum(aws.do("stats")["launched"].values()) >= count


def busy(
    aws: Aws, whose: str, kind: str, *, running: int = 5000, queued: int = 500, seconds: float = 90
) -> dict[str, Any]:
    """The heartbeats while so many containers run and so many more are launched."""
    executor = _with_running(aws, whose, kind, running)
    settling: list[float] = []
    taken = loop(executor, settling, lambda: aws.do("stats")["orphans"] == 0, seconds=60, pause=0.1)
    in_hand = running - aws.do("stats")["orphans"]
    for number in range(queued):
        executor.queue_workload(workload(f"t{number}"), session=None)
    beats: list[float] = []
    done = loop(executor, beats, lambda: _made(aws, queued), seconds=seconds, pause=0.1)
    stats = aws.do("stats")
    launched = sum(stats["launched"].values())
    return {
        "seconds": done,
        "launched": launched,
        "taken_over_seconds": taken,
        "in_hand": in_hand,
        "calls": stats["calls"],
        "bad": stats["bad"],
        **_beats(settling[1:] + beats),
    }


def idle(
    aws: Aws, whose: str, kind: str, *, running: int = 1000, settle: float = 75, window: float = 60
) -> dict[str, Any]:
    """API calls in a minute in which nothing happens; the loop sleeps a second, as the scheduler's does when it is
    idle.

    The 1,000 are launched without limits and looked at for more than a minute first, so that nobody is young any more.
    """
    aws.do("limit", on=False, latency=0)
    executor = started(whose, kind)
    beats: list[float] = []
    for number in range(running):
        executor.queue_workload(workload(f"t{number}"), session=None)
    loop(executor, beats, lambda: _made(aws, running), seconds=60, pause=0.5)
    aws.do("limit")
    loop(executor, beats, lambda: False, seconds=settle, pause=1)
    since = time.time()
    loop(executor, beats, lambda: False, seconds=window, pause=1)
    calls = Counter(operation for _, operation, _ in aws.do("log", since=since))
    return {"calls": dict(calls), "per_minute": sum(calls.values()) * 60 / window, **_beats(beats)}


def overhead(
    aws: Aws, whose: str, kind: str, *, first: int = 5000, last: int = 20000, seconds: float = 110
) -> dict[str, Any]:
    """Memory and CPU of the process for each workload that is launched and runs, for the first and for the later
    ones."""
    aws.do("limit", on=False, latency=0)
    executor = started(whose, kind)
    beats: list[float] = []
    loop(executor, beats, lambda: True, seconds=2, pause=0.1)
    answer: dict[str, Any] = {}
    made, begun = 0, time.monotonic()
    for goal in (first, last):
        cpu, memory = _cpu(), _memory()
        for number in range(made, goal):
            executor.queue_workload(workload(f"t{number}"), session=None)
        loop(executor, beats, lambda: _launched(aws) >= goal, seconds=seconds, pause=0.5)  # noqa: B023  used at once
        loop(executor, beats, lambda: False, seconds=2, pause=0.5)
        reached = _launched(aws)
        each = max(1, reached - made)
        answer |= {f"cpu_ms_{goal}": (_cpu() - cpu) / each * 1000, f"kib_{goal}": (_memory() - memory) / each / 1024}
        answer[f"reached_{goal}"], made = reached, reached
    answer["seconds"] = time.monotonic() - begun
    cpu = _cpu()
    aws.do("finish", exit_code=0)
    ends = loop(executor, beats, lambda: not executor.running, seconds=seconds, pause=0.5)
    aws.do("forget")
    return {
        **answer,
        "end_seconds": ends,
        "end_cpu_ms": (_cpu() - cpu) / max(1, made) * 1000,
        "left": len(executor.running),
        **_beats(beats),
    }


def _launched(aws: Aws) -> int:
    return int(aws.do("count"))


def _with_running(aws: Aws, whose: str, kind: str, running: int) -> Any:
    """An executor that has taken over so many running containers, as after a restart of the scheduler."""
    aws.do("limit")
    workloads = [workload(f"old{number}") for number in range(running)]
    refs = aws.do("seed", count=running, batch=kind == "batch")
    aws.do("mark")
    executor = started(whose, kind)
    left = executor.try_adopt_task_instances(
        [task_instance(one, ref, "running") for one, ref in zip(workloads, refs, strict=True)]
    )
    if left:
        raise RuntimeError(f"{len(left)} of {running} were not adopted")
    return executor


def _beats(beats: list[float]) -> dict[str, float]:
    """Of the heartbeats, in seconds."""
    p99 = statistics.quantiles(beats, n=100)[98] if len(beats) >= 100 else max(beats)
    return {"heartbeat_longest": max(beats), "heartbeat_p99": p99, "heartbeats": len(beats)}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory() -> int:
    """Bytes that this process alone occupies."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
