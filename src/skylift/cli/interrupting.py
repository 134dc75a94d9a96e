"""Lists the running work that a stop would interrupt: Airflow tasks, Batch jobs and the user's own ECS tasks. Services
are not listed: they start again with the next ``up``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skylift.cli.parts.looking import ecs_tasks
from skylift.cli.parts.rows import family_of
from skylift.cli.terminal import counted

MOST_NAMED = 8
"""This many lines are shown; the rest is counted."""


def running_work(ecs: Any, environment: str = "") -> list[str]:
    """One line for each DAG run, and for each family of other ECS tasks, that a stop would interrupt.

    Args:
        environment: only its Airflow tasks; empty: everything, in every cluster.

    Raises:
        Refused, Unavailable: from ECS.
    """
    return lines(one for one in _one_offs(ecs) if not environment or family_of(one) == f"skylift-{environment}-task")


def lines(tasks: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines for ECS tasks (as DescribeTasks shows them, with tags). Pure."""
    runs: dict[tuple[str, str], list[str]] = {}
    others: Counter[str] = Counter()
    for one in tasks:
        tags = {tag["key"]: tag.get("value", "") for tag in one.get("tags", [])}
        if "dag_id" in tags and "run_id" in tags:
            index = tags.get("map_index", "-1")
            name = tags.get("task_id", "?") + (f" [{index}]" if index not in {"", "-1"} else "")
            runs.setdefault((tags["dag_id"], tags["run_id"]), []).append(name)
        else:
            others[family_of(one)] += 1
    found = [
        f"run {run} of {dag}: {counted(len(names), 'Airflow task')} ({', '.join(sorted(names)[:MOST_NAMED])}"
        f"{', …' if len(names) > MOST_NAMED else ''})"
        for (dag, run), names in sorted(runs.items())
    ]
    found += [f"{counted(number, 'ECS task')} of {family}" for family, number in sorted(others.items())]
    rest = len(found) - MOST_NAMED
    return found if rest <= 0 else [*found[:MOST_NAMED], f"… and {rest} more"]


def _one_offs(ecs: Any) -> Iterator[dict[str, Any]]:
    """ECS tasks that should run and belong to no service, without those that prepare environments: these are started
    again by themselves."""
    for one in ecs_tasks(ecs):
        service = one.get("group", "").startswith("service:")
        if not service and not one.get("startedBy", "").startswith("skylift/"):
            yield one
