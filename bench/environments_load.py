"""What goes on beside a measured update: the UI is asked each 100 ms, and a DAG run is triggered each second.

Used by ``environments.py``.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.core.errors import Refused, Unavailable

DAG_ID = "tick"
DAG = f"""
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False, max_active_runs=100)
def {DAG_ID}():
    @task
    def first():
        return 1
    first()
{DAG_ID}()
"""
ANSWER_SECONDS = 10.0
"""A UI that answers later than this counts as one that does not answer."""

START_SECONDS = 120.0
"""After the load has ended, this long is waited for the first Airflow task of each run."""


class Every:
    """Does something at a fixed rate in a thread, however long each takes; a context.

    Args:
        act: gets the number of the turn.
    """

    def __init__(self, seconds: float, act: Callable[[int], None]) -> None:
        self._seconds, self._act = seconds, act
        self._over = threading.Event()
        self._turns: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for turn in self._turns:
            turn.join()

    def _run(self) -> None:
        begun = time.monotonic()
        number = 0
        while not self._over.is_set():
            # A thread each: an answer that is late must not hide what the next request would have got.
            self._turns = [turn for turn in self._turns if turn.is_alive()]
            self._turns.append(threading.Thread(target=self._act, args=(number,), daemon=True))
            self._turns[-1].start()
            number += 1
            self._over.wait(max(0.0, begun + number * self._seconds - time.monotonic()))


class UiProbe:
    """Asks for Airflow's UI, and counts what did not answer."""

    def __init__(self, address: str) -> None:
        self._url = f"{address}/"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.failures: list[str] = []
        self.seconds: list[float] = []

    def running(self) -> Every:
        return Every(0.1, self.ask)

    def ask(self, _turn: int = 0) -> None:
        begun = time.monotonic()
        try:
            with self._opener.open(self._url, timeout=ANSWER_SECONDS) as answer:
                answer.read()
        except OSError as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        self.seconds.append(time.monotonic() - begun)


class Runs:
    """Triggers a DAG run each second, and tells how long each took to begin its first Airflow task."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._prefix = f"bench-{time.time_ns()}"
        self._asked: dict[str, float] = {}
        self.refused: list[str] = []

    def running(self) -> Every:
        return Every(1.0, self.trigger)

    def trigger(self, turn: int) -> None:
        run_id = f"{self._prefix}-{turn}"
        self._asked[run_id] = time.time()
        try:
            self._api.trigger(DAG_ID, run_id, {})
        except (Refused, Unavailable) as error:
            self.refused.append(str(error))

    def delays(self) -> list[float]:
        """Seconds from the request to the first Airflow task's start, for each run; waits for those that have none
        yet."""
        deadline = time.monotonic() + START_SECONDS
        found: list[float] = []
        for run_id, asked in self._asked.items():
            while (started := self._started(run_id)) is None and time.monotonic() < deadline:
                time.sleep(0.5)
            found.append(START_SECONDS if started is None else started - asked)
        return found

    def _started(self, run_id: str) -> float | None:
        try:
            times = [line.started for line in self._api.task_lines(DAG_ID, run_id)]
        except (Refused, Unavailable):
            return None
        return min((one.timestamp() for one in times if one), default=None)
