"""DAGs for every Airflow version that skylift supports: each way in which an Airflow task can end, begin again, or
wait."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, task

MARKS = Path(os.environ.get("SKYLIFT_TEST_MARKS", "/nonexistent"))


class Deferred(BaseOperator):
    """Waits in the triggerer: two containers with the same try."""

    def execute(self, context: object) -> None:
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="back")

    def back(self, context: object, event: object = None) -> str:
        return "back"


@dag(schedule=None)
def flight() -> None:
    @task
    def good() -> list[int]:
        return [1, 2, 3]

    @task
    def each(number: int) -> int:
        return number

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def flaky(ti=None) -> None:
        if ti.try_number == 1:
            raise ValueError("the first try fails")

    @task
    def bad() -> None:
        raise ValueError("always")

    @task.sensor(mode="reschedule", poke_interval=1, timeout=300)
    def poked() -> bool:
        mark = MARKS / "poked"
        seen = mark.exists()
        mark.touch()
        return seen

    @task
    def late() -> None:
        (MARKS / "late").touch()
        while not (MARKS / "go").exists():
            time.sleep(0.2)

    each.expand(number=good())
    flaky()
    bad()
    poked()
    Deferred(task_id="deferred")
    late()


@dag(schedule=None)
def burst() -> None:
    @task
    def one(number: int) -> None:
        while not (MARKS / "go").exists():
            time.sleep(0.2)

    one.expand(number=[1, 2, 3, 4])


flight()
burst()
