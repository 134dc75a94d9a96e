"""How DAG runs end, Airflow task by Airflow task: what the tests compare between two executors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.core.errors import Unavailable

RUN_ID = "compared"
AT_ONCE = 4
"""Calls of the API at once: more would only wait for one another."""

States = dict[tuple[str, int], str]
T = TypeVar("T")


def outcomes(
    api: AirflowApi,
    dag_ids: Iterable[str],
    seconds: float,
    *,
    confs: Mapping[str, dict[str, Any]] | None = None,
    logical_date: datetime | None = None,
) -> dict[str, States]:
    """Triggers all at once; the final state of every Airflow task instance of each run.

    Args:
        seconds: how long all together may take.
        confs: what a DAG's run is given, by DAG id.
        logical_date: of all runs; default now, for each.
    """
    names = sorted(dag_ids)
    until_parsed(api, set(names))
    given = confs or {}
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda one: _begin(api, one, given.get(one, {}), logical_date), names))
        waiting = names
        while waiting and time.monotonic() < deadline:
            ended = pool.map(lambda one: _over(api, one), waiting)
            waiting = [one for one, over in zip(waiting, ended, strict=True) if not over]
            time.sleep(1)
        assert not waiting, f"still running after {seconds} s: { {one: states(api, one) for one in waiting} }"
        return dict(zip(names, pool.map(lambda one: states(api, one), names), strict=True))


def states(api: AirflowApi, dag_id: str) -> States:
    """The state of every Airflow task instance of the compared run."""
    lines = patiently(lambda: api.task_lines(dag_id, RUN_ID))
    return {(line.task_id, line.map_index): line.state for line in lines}


def until_parsed(api: AirflowApi, dag_ids: set[str]) -> None:
    """Waits until Airflow knows all these DAGs."""
    deadline = time.monotonic() + 600
    while missing := dag_ids - set(patiently(api.dags)):
        assert time.monotonic() < deadline, f"not parsed: {missing}; {json.dumps(api.import_errors())[:2000]}"
        time.sleep(0.5)


def patiently(call: Callable[[], T]) -> T:
    """The call's answer; an API server that is slow under many Airflow tasks at once is asked again for five minutes."""
    deadline = time.monotonic() + 300
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _begin(api: AirflowApi, dag_id: str, conf: dict[str, Any], logical_date: datetime | None) -> None:
    patiently(lambda: api.unpause(dag_id))
    patiently(lambda: api.trigger(dag_id, RUN_ID, conf, logical_date))


def _over(api: AirflowApi, dag_id: str) -> bool:
    return patiently(lambda: api.run_state(dag_id, RUN_ID)) in {"success", "failed"}
