"""Triggers a DAG, follows the run, and shows each Airflow task with the ECS task that ran it."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from skylift.cli.logs.lines import of_project
from skylift.cli.parts.looking import ecs_tasks_in
from skylift.cli.projects.project import walk
from skylift.cli.runs.airflow_api import AirflowApi, TaskLine
from skylift.cli.runs.patience import Ask, patiently
from skylift.cli.terminal import seconds
from skylift.core.errors import Refused
from skylift.core.names import tag_value

LONG_SECONDS = 600.0
"""Time limit until an existing DAG file is parsed."""

PARSE_SECONDS = LONG_SECONDS
"""Time limit until the first DAG file is parsed after the environment became available, when we cannot see whether
there is one."""

EMPTY_SECONDS = 60.0
"""The same, when no file in the project's folder looks like one."""

PATIENCE_SECONDS = 8.0
"""Time limit until one more DAG file is parsed when others are already: it may have been saved a moment ago."""

POLL_SECONDS = 0.5
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
REMEMBERED = timedelta(hours=2)
"""ECS forgets an ECS task about an hour after its end."""

SLACK = timedelta(minutes=1)
"""How much later an Airflow task may be queued, by Airflow's clock, than its ECS task was made."""

AIRFLOW = "Airflow"
"""The name, for people, of the service that is asked."""
FINAL = frozenset({"success", "failed"})
COLOURS = {"success": "green", "failed": "red", "upstream_failed": "yellow", "skipped": "magenta", "running": "cyan"}


@dataclass(frozen=True)
class RunResult:
    """How a DAG run ended. ``ecs_tasks``: ECS task id by (task id, map index)."""

    dag_id: str
    run_id: str
    state: str
    took: float
    lines: tuple[TaskLine, ...]
    ecs_tasks: dict[tuple[str, int], str]


def choose_dag(
    api: AirflowApi,
    wanted: str | None,
    say: Callable[[str], None],
    limit: float = PARSE_SECONDS,
    folder: Path | None = None,
    ask: Ask = patiently,
) -> str:
    """The id of the DAG to run: the wanted one, otherwise the only one. Waits until it is parsed.

    Args:
        limit: seconds.
        folder: of the project, to show import errors with the user's paths.
        ask: as for ``run_dag``.

    Raises:
        Refused: it cannot be imported (with the import error), does not exist, or there are several.
    """
    begun = time.monotonic()
    if folder is not None and not _is_saved(folder, None, set()):
        limit = min(limit, EMPTY_SECONDS)
    while True:
        dags, errors = ask(lambda: (api.dags(), api.import_errors()), say, AIRFLOW)
        if wanted in dags or (wanted is None and dags and not errors):
            break
        waited = time.monotonic() - begun
        # On a busy machine a file may wait long to be parsed; we wait for a file that exists.
        patience = LONG_SECONDS if _is_saved(folder, wanted, {name for name, _ in errors}) else PATIENCE_SECONDS
        if errors and (wanted is None or waited >= min(limit, patience)):
            raise Refused(_import_error_text(errors, wanted, folder))
        if waited >= (min(limit, patience) if dags else limit):
            raise Refused(_no_dag_text(dags, wanted))
        say("waiting until the DAG is parsed")
        time.sleep(POLL_SECONDS)
    if wanted:
        return wanted
    if len(dags) > 1:
        known = sorted(dags)
        raise Refused(f"Which DAG? There are {', '.join(known)}. Name one, e.g.: --dag {known[0]}")
    return next(iter(dags))


def _is_saved(folder: Path | None, wanted: str | None, broken: Container[str]) -> bool:
    """Whether a project has a DAG file without a known import error that contains the wanted DAG's name."""
    if folder is None:
        return False
    dags = folder / "dags"
    for path in walk(dags):
        if path.suffix == ".py" and path.relative_to(dags).as_posix() not in broken:
            try:
                text = path.read_text(errors="replace")
            except OSError:
                continue
            if wanted in text if wanted else "dag" in text.lower() and "airflow" in text:
                return True
    return False


def new_run_id() -> str:
    """The id of a run that the command line starts."""
    return f"cli__{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"


def run_dag(
    api: AirflowApi,
    ecs: Any,
    cluster: str,
    dag_id: str,
    conf: dict[str, Any],
    say: Callable[[str], None],
    ask: Ask = patiently,
    run_id: str = "",
) -> RunResult:
    """Triggers a DAG and follows the run to its end, however long it takes.

    Args:
        cluster: the ECS cluster in which the environment's Airflow tasks run.
        say: called with the run's progress.
        ask: repeats a call that gets no answer: the run exists, whatever happens to one call.
        run_id: of the run; empty: a new one.
    """
    begun = time.monotonic()
    run_id = start_run(api, dag_id, conf, say, ask, run_id)
    return follow_run(api, ecs, cluster, dag_id, run_id, say, ask, begun)


def start_run(
    api: AirflowApi,
    dag_id: str,
    conf: dict[str, Any],
    say: Callable[[str], None],
    ask: Ask = patiently,
    run_id: str = "",
) -> str:
    """Triggers a DAG; returns the id of the run. Arguments as ``run_dag``."""
    wanted = run_id or new_run_id()
    ask(lambda: api.unpause(dag_id), say, AIRFLOW)
    return ask(lambda: api.trigger(dag_id, wanted, conf), say, AIRFLOW)


def follow_run(
    api: AirflowApi,
    ecs: Any,
    cluster: str,
    dag_id: str,
    run_id: str,
    say: Callable[[str], None],
    ask: Ask = patiently,
    begun: float | None = None,
) -> RunResult:
    """Follows a started run to its end. Like ``run_dag``.

    Args:
        begun: when following began (``time.monotonic``); default now.
    """
    begun = time.monotonic() if begun is None else begun
    while True:
        state, lines = ask(lambda: (api.run_state(dag_id, run_id), api.task_lines(dag_id, run_id)), say, AIRFLOW)
        if state in FINAL:
            break
        say(f"{dag_id}: {describe(lines)}")
        time.sleep(POLL_SECONDS)
    ids = ask(lambda: ecs_task_ids(ecs, cluster, dag_id, run_id, lines), say, "ECS")
    return RunResult(dag_id, run_id, state, time.monotonic() - begun, tuple(lines), ids)


def describe(lines: list[TaskLine]) -> str:
    """A run's progress: ``5 of 9 tasks done, 3 running``."""
    done = sum(line.state in ENDED for line in lines)
    live = sum(line.state == "running" for line in lines)
    waiting = sum(line.state == "queued" for line in lines)
    parts = [f"{done} of {len(lines)} Airflow tasks done", f"{live} running" if live else ""]
    return ", ".join(part for part in [*parts, f"{waiting} queued" if waiting else ""] if part)


def ecs_task_ids(
    ecs: Any, cluster: str, dag_id: str, run_id: str, lines: Iterable[TaskLine]
) -> dict[tuple[str, int], str]:
    """ECS task ids of a run by (Airflow task id, map index), from the tags that the executor sets; the latest try
    wins.

    Args:
        lines: the run's task instances. What ECS made before the first of them was queued is not read, and nothing if
            all ended longer ago than ECS remembers: it may know thousands of tasks.
    """
    lines = list(lines)
    times = [at for line in lines for at in (line.queued, line.started) if at is not None]
    if not times or all(_is_forgotten(line) for line in lines):
        return {}
    found: dict[tuple[str, int], tuple[int, str]] = {}
    ended = ecs_tasks_in(ecs, cluster, "STOPPED")
    for task in chain(ecs_tasks_in(ecs, cluster, "RUNNING"), takewhile(partial(_is_younger, min(times)), ended)):
        tags = {tag["key"]: tag.get("value", "") for tag in task.get("tags", [])}
        if tags.get("dag_id") == tag_value(dag_id) and tags.get("run_id") == tag_value(run_id):
            key = (tags.get("task_id", ""), int(tags.get("map_index", "-1") or -1))
            attempt = (int(tags.get("try_number", "0") or 0), task["taskArn"].rpartition("/")[2])
            found[key] = max(found.get(key, (0, "")), attempt)
    return {key: ecs_id for key, (_, ecs_id) in found.items()}


def _is_forgotten(line: TaskLine) -> bool:
    """Whether ECS knows nothing any more of an Airflow task that has ended."""
    begun = line.started or line.queued
    if begun is None or line.state not in ENDED:
        return begun is None
    return begun + timedelta(seconds=line.duration or 0.0) < datetime.now(UTC) - REMEMBERED


def _is_younger(time: datetime, task: Mapping[str, Any]) -> bool:
    """Whether an ECS task was made after a time, or shortly before."""
    return bool(task["createdAt"] > time - SLACK)


def heading(dag_id: str, state: str, took: float) -> str:
    """A run in one line; ``took`` in seconds."""
    return f"{dag_id}: {state} in {seconds(took)}"


def table(result: RunResult, *, headed: bool = True) -> Table:
    """One line per Airflow task instance, in the order in which they started; ``headed``: below the run's own line."""
    title = heading(result.dag_id, result.state, result.took) if headed else None
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("task", "state", "ECS task", "start delay", "duration"):
        shown.add_column(name, justify="right" if name in {"start delay", "duration"} else "left", no_wrap=True)
    late = datetime.max.replace(tzinfo=UTC)
    for line in sorted(result.lines, key=lambda one: (one.started or late, one.task_id, one.map_index)):
        colour = COLOURS.get(line.state, "default")
        shown.add_row(
            line.task_id if line.map_index < 0 else rf"{line.task_id} \[{line.map_index}]",
            f"[{colour}]{line.state}[/]",
            result.ecs_tasks.get((tag_value(line.task_id), line.map_index), "-"),
            "-" if line.start_delay is None else f"{line.start_delay:.1f} s",
            "-" if line.duration is None else f"{line.duration:.1f} s",
        )
    return shown


def _no_dag_text(dags: Iterable[str], wanted: str | None) -> str:
    known = ", ".join(sorted(dags))
    if known:
        return f"There is no DAG {wanted}. There are: {known}."
    return (
        f"There is no DAG{' ' + wanted if wanted else ''}: Airflow found none in dags/. It reads Python files that "
        "hold the "
        "words airflow and dag; what it did with them: skylift logs dag-processor"
    )


def _import_error_text(errors: list[tuple[str, str]], wanted: str | None, folder: Path | None) -> str:
    rename = of_project(folder)
    shown = "\n".join(
        f"  {folder / 'dags' / name if folder else name}:\n    "
        + "\n    ".join(rename(trace).strip().splitlines()[-6:])
        for name, trace in errors
    )
    subject = f"There is no DAG {wanted}, and a" if wanted else "A"
    return f"{subject} DAG file does not import. Correct it and save; it is read again at once.\n{shown}"
