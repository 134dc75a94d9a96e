"""Shows why a DAG run failed: for each failed Airflow task its exception in one line, and the command for its log."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from skylift.cli.logs.airflow_tasks import Which, command, messages, tries
from skylift.cli.logs.lines import reason
from skylift.cli.runs.airflow_api import TaskLine
from skylift.cli.runs.dag_run import RunResult
from skylift.cli.terminal import plain
from skylift.core.errors import Refused, Unavailable
from skylift.core.names import log_group
from skylift.core.secrecy import hide_in

MOST_EXPLAINED = 5
LOG_SECONDS = 20.0
"""Time limit for the last lines of a log: the container sends them after it has reported the failure to Airflow."""

POLL_SECONDS = 0.5


def print_failures(
    console: Console, logs: Any, result: RunResult, environment: str, only: bool, secrets: tuple[str, ...] = ()
) -> None:
    """Prints why a run failed. A run that did not fail has nothing to print.

    Args:
        environment: whose run it is.
        only: whether it is the only environment, so that commands need not name it.
        secrets: texts that are not printed (``hiding.secrets_in``).
    """
    failed = [line for line in result.lines if line.state == "failed"]
    if result.state != "failed":
        return
    deadline = time.monotonic() + LOG_SECONDS
    for line in failed[:MOST_EXPLAINED]:
        index = f" [{line.map_index}]" if line.map_index >= 0 else ""
        why = _reason(logs, environment, result, line, deadline) or "its log does not say why"
        told = hide_in(f"{line.task_id}{index} (try {line.try_number}): {why}", secrets)
        console.print(f"[bold red]✗[/] {plain(told)}")
        shown = command(
            result.dag_id, result.run_id, line.task_id, line.try_number, line.map_index, "" if only else environment
        )
        console.print(f"  its log: {plain(shown)}")
    if len(failed) > MOST_EXPLAINED:
        console.print(f"  … and {len(failed) - MOST_EXPLAINED} more that failed")
    if not failed:
        console.print("[bold red]✗[/] no Airflow task of it failed itself: see the states above")
    console.print("")


def _reason(logs: Any, environment: str, result: RunResult, line: TaskLine, deadline: float) -> str:
    group = log_group(environment, "TaskLogs")
    index = line.map_index if line.map_index >= 0 else None
    which = Which(result.dag_id, result.run_id, line.task_id, line.try_number, index)
    while True:
        try:
            found = [text for one in tries(logs, group, which) for _, text in messages(logs, group, one.stream)]
        except (Refused, Unavailable):
            found = []
        if why := reason(found):
            return why
        if time.monotonic() > deadline:
            return ""
        time.sleep(POLL_SECONDS)
