"""The scenario of crashes: an executor's process is killed at twenty points, and the next one takes over what a
database has.

One process that has Airflow imported forks two for each point. The first launches 50 workloads, 16 a loop as the
scheduler does, and is killed (SIGKILL) by the bench's AWS before or after the work of a certain call, or when it has
made all its launches. Meanwhile one launch in ten is cut after the container was made, and in three of the points one
answer comes later than either executor waits. The second adopts: for ours the external id that was pre-assigned and
committed with QUEUED, for the provider what had come out of its event buffer in the loops before. What is not adopted
is reset and queued again.

Counted by the bench's AWS: containers made while another of the same workload lived (doubles), containers alive that
the second process never named in a call (orphans), workloads without a container (lost).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.aws_limits import Aws
from bench.executors_airflow import account, beat, started, task_instance, workload

LAUNCH = {"ecs": "ecs RunTask", "batch": "batch SubmitJob"}
LOOK = {"ecs": "ecs DescribeTasks", "batch": "batch DescribeJobs"}
NUMBERS = (1, 5, 10, 17, 25, 33, 42, 50)
LATE = 65.0
"""Seconds for a late answer: ours waits 20, the provider's botocore 60."""
PER_LOOP = 16
"""``[scheduler] max_tis_per_query``, Airflow's default."""
PAUSE = 0.5
AT_ONCE = 7
PR_SET_PDEATHSIG = 1
"""``prctl``: a process ends with its parent."""
SETTLED = 20.0
"""Seconds without a change after which nothing more is expected of the second process."""
LONGEST = 180.0


def points(kind: str) -> list[tuple[str, int, str]]:
    """Operation, its n-th call, before or after the work."""
    launches = [(LAUNCH[kind], number, when) for number in NUMBERS for when in ("before", "after")]
    return [*launches, *((LOOK[kind], number, when) for number in (1, 3) for when in ("before", "after"))]


def crashes(aws: Aws, whose: str, kind: str, *, count: int = 50, only: int = 20) -> dict[str, Any]:
    """All points, some at once. The threads here only wait."""
    with TemporaryDirectory(prefix="skylift-bench-crash-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        cases = [
            Case(aws.url, whose, kind, number, point, count, Path(folder))
            for number, point in enumerate(points(kind)[:only])
        ]
        for case in cases:
            case.prepare()
        found = list(pool.map(Case.run, cases))
    total = {name: sum(one[name] for one in found) for name in ("doubles", "orphans", "lost", "killed")}
    return {**total, "points": len(found), "workloads": count * len(found), "found": found}


class Case:
    """One crash point."""

    def __init__(
        self, url: str, whose: str, kind: str, number: int, point: tuple[str, int, str], count: int, folder: Path
    ) -> None:
        self._whose, self._kind, self._point, self._number = whose, kind, point, number
        self._aws = Aws(url, f"CRASH{whose}{kind}{number}".upper())
        self._workloads = [workload(f"w{index}") for index in range(count)]
        self._database = folder / f"{number}.txt"
        self._database.touch()
        self._first = 0

    def prepare(self) -> None:
        """The account. Forks the first process here, before there are threads, and lets it wait for its turn."""
        aws = self._aws
        aws.do("limit")
        aws.do("plan", plans=[{"waiting": 2.0}])
        aws.do(
            "fault",
            kind="cut",
            when="after",
            service=self._kind,
            operation=LAUNCH[self._kind].split()[1],
            probability=0.1,
            seed=self._number,
        )
        if self._number % 7 == 3:
            aws.do("hold", operation=LAUNCH[self._kind], number=7, seconds=LATE)
        self._turn = self._forked(self._work)
        self._second = self._forked(self._take_over)
        operation, number, when = self._point
        aws.do("crash", operation=operation, number=number, when=when, pid=self._turn.pid)

    def run(self) -> dict[str, Any]:
        """The first process, its end, the second, the referee's word."""
        self._turn.go()
        deadline = time.monotonic() + LATE + 30
        while self._turn.lives() and time.monotonic() < deadline:
            time.sleep(0.1)
        killed = not self._turn.lives()
        self._aws.do("disarm")
        self._turn.kill()
        time.sleep(0.5)
        self._aws.do("mark")
        self._second.go()
        stats = self._settle()
        self._second.kill()
        lost = len(self._workloads) - len(self._alive(stats))
        return {
            "point": self._point,
            "doubles": stats["doubles"],
            "orphans": stats["orphans"],
            "lost": lost,
            "launched": stats["containers"],
            "killed": killed,
        }

    def _settle(self) -> dict[str, Any]:
        """Until all is well, or nothing has changed for long since the second process began (the machine may be
        busy)."""
        begun, marked = time.monotonic(), self._calls()
        before: Any = None
        while True:
            time.sleep(1)
            stats: dict[str, Any] = self._aws.do("stats")
            now, state = time.monotonic(), (stats["containers"], stats["orphans"])
            if state != before or sum(stats["calls"].values()) == marked:
                before, changed = state, now
            fine = stats["orphans"] == 0 and len(self._alive(stats)) == len(self._workloads)
            quiet = LATE + 10 if self._number % 7 == 3 else SETTLED
            if (fine and now - begun > 8) or now - changed > quiet or now - begun > LONGEST:
                return stats

    def _calls(self) -> int:
        return sum(self._aws.do("stats")["calls"].values())

    def _alive(self, stats: dict[str, Any]) -> list[str]:
        return [name for name in stats["launched"] if name]

    # In the forked processes.

    def _work(self) -> None:
        """Until it is killed: launches, and writes down what the scheduler would have committed."""
        executor = started(self._whose, self._kind)
        waiting = list(self._workloads)
        while True:
            for one in waiting[:PER_LOOP]:
                # The scheduler commits QUEUED and the external id before it hands the workload over.
                self._write(one.ti.task_id, "queued", one.ti.external_executor_id if self._whose == "ours" else "")
                executor.queue_workload(one, session=None)
            del waiting[:PER_LOOP]
            beat(executor)
            for key, (state, said) in executor.get_event_buffer().items():
                self._write(
                    key.task_id,
                    str(state),
                    said if self._whose == "provider" and str(state) in {"running", "queued"} else "",
                )
            time.sleep(PAUSE)

    def _write(self, *words: Any) -> None:
        with self._database.open("a") as database:
            database.write("\t".join(str(word or "") for word in words) + "\n")

    def _take_over(self) -> None:
        """As a new scheduler: adopt, reset the others, go on."""
        executor = started(self._whose, self._kind)
        ids, began = dict(self._committed()), set(self._aws.do("running"))
        instances = [
            task_instance(one, ids[one.ti.task_id], "running" if f"{one.ti.task_id}/-1/1" in began else "queued")
            for one in self._workloads
            if one.ti.task_id in ids
        ]
        reset = {one.task_id for one in executor.try_adopt_task_instances(instances)}
        again = [
            workload(one.ti.task_id) for one in self._workloads if one.ti.task_id in reset or one.ti.task_id not in ids
        ]
        while True:
            for one in again[:PER_LOOP]:
                executor.queue_workload(one, session=None)
            del again[:PER_LOOP]
            beat(executor)
            executor.get_event_buffer()
            time.sleep(PAUSE)

    def _committed(self) -> Iterator[tuple[str, str | None]]:
        ids: dict[str, str | None] = {}
        for line in self._database.read_text().splitlines():
            task, _, said = line.split("\t")
            ids[task] = said or ids.get(task)
        yield from ids.items()

    def _forked(self, work: Callable[[], None]) -> Fork:
        return Fork(self._aws.account, work)


class Fork:
    """A process that waits for its turn; made before there are threads."""

    def __init__(self, key: str, work: Callable[[], None]) -> None:
        hear, self._say = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.close(self._say)
            self._live(key, work, hear)
        os.close(hear)

    def go(self) -> None:
        """Its turn."""
        os.write(self._say, b"x")

    def lives(self) -> bool:
        """Whether it runs. What has ended keeps its pid until ``kill``, so that nobody else gets it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def kill(self) -> None:
        """SIGKILL, unless it has ended; its pid is free after that."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _live(self, key: str, work: Callable[[], None], hear: int) -> None:
        try:
            if os.read(hear, 1):
                account(key)
                work()
        except Exception:  # noqa: BLE001  a process of its own: nobody above would say it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(1)
