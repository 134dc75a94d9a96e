"""Scenarios on a clock that is moved by hand: ten minutes of throttling, and how containers end.

For ours, the fleet gets a ``ManualClock`` and a pool that works at once. The provider's executors take the time from
the system; what they do with it is to compare it with the due times of what is pending, so time moves for them by
setting those due times back. Nothing of either is replaced. botocore's own retries, which sleep for real inside a call,
are off for both (AWS_MAX_ATTEMPTS=1): they would add 15 s at most to a call, against ten minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from bench.aws_limits import Aws
from bench.executors_airflow import AtOnce, account, callback, executor_of, started, task_instance, workload

from skylift.core.clock import ManualClock
from skylift.executors.fleet.fleet import Fleet

APIS = {
    ("ours", "ecs"): ("ecs RunTask", "ecs DescribeTasks", "ecs ListTasks", "ecs StopTask", "s3 PutObject"),
    ("provider", "ecs"): ("ecs RunTask", "ecs DescribeTasks", "ecs ListTasks", "ecs StopTask"),
    ("ours", "batch"): (
        "batch SubmitJob",
        "batch DescribeJobs",
        "batch ListJobs",
        "batch TerminateJob",
        "s3 PutObject",
    ),
    ("provider", "batch"): ("batch SubmitJob", "batch DescribeJobs", "batch ListJobs", "batch TerminateJob"),
}
MINUTES = 10
STEP = 2.0
"""Seconds by which the clock is moved between two heartbeats."""
LONGEST = 1200.0
"""Seconds on the moved clock after which what has not ended counts as stuck."""


class Moved:
    """An executor on a clock that is moved by hand, and what it told Airflow."""

    def __init__(self, whose: str, kind: str) -> None:
        os.environ["AWS_MAX_ATTEMPTS"] = "1"
        self._ours = whose == "ours"
        self.executor = executor_of(whose, kind) if self._ours else started(whose, kind)
        self.failed: set[Any] = set()
        self._clock = ManualClock()
        if self._ours:
            compute = self.executor.compute
            for part in (compute, getattr(compute, "_arrays", None)):
                if hasattr(part, "_clock"):
                    part._clock = self._clock  # Batch waits by the clock before it submits again
            self.executor._fleet = Fleet(compute, AtOnce(), self._clock, self.executor.timing())

    def step(self, seconds: float = STEP) -> None:
        """Time passes, and the scheduler makes one loop."""
        if self._ours:
            self._clock.advance(seconds)
        else:
            pending = (
                getattr(self.executor, "pending_workloads", None) or getattr(self.executor, "pending_jobs", None) or []
            )
            for one in pending:
                one.next_attempt_time -= timedelta(seconds=seconds)
            self.executor.last_connection_reload -= timedelta(seconds=seconds)
        self.executor.heartbeat()
        if self._ours:
            # What a call brought back is drawn from in the next step of the fleet.
            for _ in range(4):
                self.executor._fleet.step()
            self.executor.sync()
        for key, (state, _) in self.executor.get_event_buffer().items():
            if str(state) == "failed":
                self.failed.add(key)

    def until(self, done: Callable[[], bool], seconds: float = LONGEST) -> float:
        """Steps until something holds; the seconds that passed on the moved clock."""
        passed = 0.0
        while not done() and passed < seconds:
            self.step()
            passed += STEP
        return passed


def throttled(_aws: Aws, whose: str, kind: str, *, count: int = 50) -> dict[str, Any]:
    """Workloads that failed, or never ended, when one API after the other is throttled for ten minutes."""
    answer = {api: _throttled(whose, kind, api, count) for api in APIS[whose, kind]}
    names = ("failed", "stuck", "doubles", "not_launched")
    sums = {name: sum(one[name] for one in answer.values()) for name in names}
    return {"apis": answer, **sums, "of": count * len(answer)}


def _throttled(whose: str, kind: str, api: str, count: int) -> dict[str, int]:
    """Half is queued during the throttling, half runs already and ends during it."""
    aws = account(f"THROTTLE{whose}{kind}{api}".upper().replace(" ", ""))
    aws.do("limit", on=False, latency=0)
    aws.do("plan", plans=[{"running": 0.02}])
    moved = Moved(whose, kind)
    running = [workload(f"old{number}") for number in range(count // 2)]
    refs = aws.do(
        "seed", count=len(running), batch=kind == "batch", external_ids=[one.ti.external_executor_id for one in running]
    )
    service, operation = api.split()
    if operation not in {"ListTasks", "ListJobs"}:
        _adopt(moved, running, refs)
    aws.do("fault", kind="throttle", name="it", service=service, operation=operation)
    if operation in {"ListTasks", "ListJobs"}:
        own = [one.ti.external_executor_id for one in running] if whose == "ours" else refs
        _adopt(moved, running, own)
    queued = [workload(f"new{number}") for number in range(count - len(running))]
    for one in queued:
        moved.executor.queue_workload(one, session=None)
    if operation in {"StopTask", "TerminateJob"}:
        _revoke(moved, queued)
    for number in range(int(MINUTES * 60 / STEP)):
        moved.step()
        if number == 30:
            aws.do("finish", exit_code=0)
    waiting = len(queued) - sum(aws.do("stats")["launched"].values())
    aws.do("clear", name="it")
    moved.until(lambda: not moved.executor.running)
    stats = aws.do("stats")
    return {
        "failed": len(moved.failed),
        "stuck": len(moved.executor.running),
        "not_launched": waiting if operation not in {"RunTask", "SubmitJob", "PutObject"} else 0,
        "doubles": stats["doubles"],
        "calls": sum(stats["calls"].values()),
    }


def _adopt(moved: Moved, running: list[Any], ids: list[str]) -> None:
    moved.executor.try_adopt_task_instances(
        [task_instance(one, ref, "running") for one, ref in zip(running, ids, strict=True)]
    )
    moved.step()


def _revoke(moved: Moved, queued: list[Any]) -> None:
    """What the scheduler does with what was queued for too long; the provider's executors do not know how."""
    moved.until(lambda: False, 10)
    for one in queued[:5]:
        try:
            moved.executor.revoke_task(ti=one.ti)
        except NotImplementedError:
            return


OUT_OF_MEMORY = {"running": 0.02, "exit_code": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}
SPOT = {"stop_code": "SpotInterruption", "stopped": "Your Spot Task was interrupted."}
CASES: dict[str, list[dict[str, Any]]] = {
    "out of memory": [OUT_OF_MEMORY],
    "exit 1": [{"running": 0.02, "exit_code": 1}],
    "user cancel": [{"running": 0.02, "exit_code": 1}],
    "failing callback": [{"running": 0.02, "exit_code": 1}],
    "Spot before start": [{**SPOT, "begins": False, "exit_code": None}, {"running": 0.02, "exit_code": 0}],
    "Spot after start": [{**SPOT, "running": 0.02, "exit_code": 143}],
}
"""What becomes of the first container of a workload, the second, …; the last holds for all that follow."""
ENDED_BADLY = 70
"""Exit code of our command in the container when Airflow has the state; the provider's command ends with 1."""


def endings(_aws: Aws, whose: str, kind: str) -> dict[str, Any]:
    """Containers that were made for one workload, by how they end; and whether the executor is through with it."""
    aws = account(f"ENDINGS{whose}{kind}".upper())
    aws.do("limit", on=False, latency=0)
    moved = Moved(whose, kind)
    names = {case: "c" + case.replace(" ", "") for case in CASES}
    for case, plans in CASES.items():
        if case == "user cancel" and whose == "ours":
            plans = [{**plan, "exit_code": ENDED_BADLY} for plan in plans]
        aws.do("plan", task=names[case], plans=plans)
        made = callback(names[case]) if case == "failing callback" else workload(names[case])
        moved.executor.queue_workload(made, session=None)
    moved.step()
    moved.until(lambda: not moved.executor.running, 900)
    launched = aws.do("stats")["launched"]
    made_of = {case: sum(n for name, n in launched.items() if name.partition("/")[0] == names[case]) for case in CASES}
    return {"containers": made_of, "stuck": len(moved.executor.running), "failed": len(moved.failed)}
