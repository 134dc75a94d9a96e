"""The rows of the executors' table: which scenario each runs for which executor, how a cell reads, and the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS = {
    "ours ecs": "skylift, ECS",
    "provider ecs": "amazon provider, ECS",
    "ours batch": "skylift, Batch",
    "provider batch": "amazon provider, Batch",
}
OURS, PROVIDERS = ("ours ecs", "ours batch"), ("provider ecs", "provider batch")

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: for ``--only``.
        title, target: for people.
        scenario: a driver's.
        cell: what stands in a column, from the scenario's answer.
        met: whether ours meets the target.
        waves: columns that are measured at the same time, wave after wave.
        asked: the scenario's arguments.
        options: Airflow's options of ours.
        together: may run while other such rows do: it counts, and does not time.
        expects: seconds, for the display.
    """

    name: str
    title: str
    target: str
    scenario: str
    cell: Callable[[Answer], str]
    met: Callable[[Answer], bool]
    waves: tuple[tuple[str, ...], ...] = (OURS, PROVIDERS)
    asked: dict[str, Any] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    together: bool = False


def seconds(value: float) -> str:
    """``0.4 ms``, ``21 ms``, ``5.6 s``, ``53 s``."""
    if value < 0.01:
        return f"{value * 1000:.1f} ms"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 20 else f"{value:.0f} s"


def _heartbeat(answer: Answer) -> str:
    short = "" if answer["in_hand"] == 5000 else f"; {answer['in_hand']} of 5,000 looked at"
    return f"{seconds(answer['heartbeat_p99'])} (longest {seconds(answer['heartbeat_longest'])}{short})"


def _launch(answer: Answer) -> str:
    missing = "" if answer["launched"] >= 500 else f", only {answer['launched']} launched"
    return f"{seconds(answer['seconds'])}, {answer['scheduler_blocked']:.1%} blocked{missing}"


def _arrays(answer: Answer) -> str:
    submits = answer["calls"].get("batch SubmitJob", 0)
    return f"{submits} in {seconds(answer['seconds'])}" + (
        "" if answer["launched"] >= 1000 else f" ({answer['launched']} launched)"
    )


def _crashes(answer: Answer) -> str:
    return f"{answer['doubles']} doubles, {answer['orphans']} orphans, {answer['lost']} lost"


def _throttled(answer: Answer) -> str:
    still = f", {answer['stuck']} stuck" if answer["stuck"] else ""
    held = f", {answer['not_launched']} held up by another API" if answer["not_launched"] else ""
    return f"{answer['failed']} of {answer['of']}{still}{held}"


def _endings(answer: Answer) -> str:
    counts = list(answer["containers"].values())
    return f"{', '.join(map(str, counts[:4]))}, {counts[4]} / {counts[5]}"


def _overhead(answer: Answer) -> str:
    return (
        f"{answer['cpu_ms_5000']:.1f} → {answer['cpu_ms_20000']:.1f} ms, "
        f"{answer['kib_5000']:.1f} → {answer['kib_20000']:.1f} KiB; end {answer['end_cpu_ms']:.1f} ms"
    )


ROWS = (
    Row(
        "idle-events",
        "API calls a minute, 1,000 running and idle, with events",
        "≤ 10",
        "idle",
        lambda answer: f"{answer['per_minute']:.0f}",
        lambda answer: answer["per_minute"] <= 10,
        waves=(OURS,),
        options={"skylift__events_queue": "bench-events", "skylift__launches_per_second": "1000"},
        together=True,
    ),
    Row(
        "idle",
        "the same without events",
        "≤ 60",
        "idle",
        lambda answer: f"{answer['per_minute']:.0f}",
        lambda answer: answer["per_minute"] <= 60,
        waves=((*OURS, *PROVIDERS),),
        options={"skylift__launches_per_second": "1000"},
        together=True,
    ),
    Row(
        "arrays",
        "SubmitJob calls for 1,000 mapped task instances, with arrays",
        "≤ 2",
        "launch",
        _arrays,
        lambda answer: answer["calls"].get("batch SubmitJob", 0) <= 2 and answer["launched"] == 1000,
        waves=(("ours batch", "provider batch"),),
        asked={"count": 1000, "mapped": True},
        options={"skylift__batch_arrays": "True"},
        together=True,
    ),
    Row(
        "crashes",
        "20 crash points × 50 workloads, drops, late answers",
        "0",
        "crashes",
        _crashes,
        lambda answer: answer["doubles"] + answer["orphans"] + answer["lost"] == 0,
        waves=((*OURS, *PROVIDERS),),
        together=True,
    ),
    Row(
        "throttling",
        "failed by 10 min of throttling on each API in turn (moved clock)",
        "0",
        "throttled",
        _throttled,
        lambda answer: answer["failed"] + answer["stuck"] == 0,
        waves=((*OURS, *PROVIDERS),),
        together=True,
    ),
    Row(
        "containers",
        "containers for: out of memory, exit 1, user cancel, failing callback, Spot before / after start",
        "1, 1, 1, 1, 2 / 1",
        "endings",
        _endings,
        lambda answer: list(answer["containers"].values()) == [1, 1, 1, 1, 2, 1],
        waves=((*OURS, *PROVIDERS),),
        together=True,
    ),
    Row(
        "heartbeat",
        "heartbeat p99, 500 queued, 5,000 running",
        "≤ 50 ms",
        "busy",
        _heartbeat,
        lambda answer: answer["heartbeat_p99"] <= 0.05,
        waves=(("ours ecs",), ("ours batch",), PROVIDERS),
    ),
    Row(
        "launch",
        "500 launches under Fargate's 20/s (Batch's 50/s), scheduler's time blocked",
        "≤ 26 s, free",
        "launch",
        _launch,
        lambda answer: answer["seconds"] <= 26 and answer["launched"] == 500,
        waves=(OURS, PROVIDERS),
    ),
    Row(
        "overhead",
        "CPU and memory for each workload, first 5,000 → next 15,000",
        "stated",
        "overhead",
        _overhead,
        lambda answer: answer["reached_20000"] == 20000 and answer["left"] == 0,
        waves=(("ours ecs", "provider ecs"),),
        options={"skylift__launches_per_second": "1000"},
    ),
)
