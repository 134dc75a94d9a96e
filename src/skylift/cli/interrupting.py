"""Lists the running work that a stop would interrupt: Airflow tasks, Batch jobs and the user's own ECS tasks. Services
are not listed: they start again with the next ``up``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skylift.aws.errors import calling

MOST_NAMED = 8
"""This many lines are shown; the rest is counted."""


def running_work(ecs: Any, environment: str = "") -> list[str]:
    """One line for each DAG run, and for each family of other ECS tasks, that a stop would interrupt.

    Args:
        environment: only its Airflow tasks; empty: everything, in every cluster.

    Raises:
        Refused, Unavailable: from ECS.
    """
    return lines(one for one in _one_offs(ecs) if not environment or _family(one) == f"skylift-{environment}-task")


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
            others[_family(one)] += 1
    found = [
        f"run {run} of {dag}: {_count(len(names), 'Airflow task')} ({', '.join(sorted(names)[:MOST_NAMED])}"
        f"{', …' if len(names) > MOST_NAMED else ''})"
        for (dag, run), names in sorted(runs.items())
    ]
    found += [f"{_count(number, 'ECS task')} of {family}" for family, number in sorted(others.items())]
    rest = len(found) - MOST_NAMED
    return found if rest <= 0 else [*found[:MOST_NAMED], f"… and {rest} more"]


def _one_offs(ecs: Any) -> Iterator[dict[str, Any]]:
    """ECS tasks that should run and belong to no service, without those that prepare environments: these are started
    again by themselves."""
    with calling("ecs ListClusters"):
        clusters = [arn for page in ecs.get_paginator("list_clusters").paginate() for arn in page["clusterArns"]]
    for cluster in clusters:
        with calling("ecs ListTasks"):
            pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus="RUNNING")
            arns = [arn for page in pages for arn in page["taskArns"]]
        for start in range(0, len(arns), 100):
            with calling("ecs DescribeTasks"):
                found = ecs.describe_tasks(cluster=cluster, tasks=arns[start : start + 100], include=["TAGS"])["tasks"]
            for one in found:
                service = one.get("group", "").startswith("service:")
                if not service and not one.get("startedBy", "").startswith("skylift/"):
                    yield one


def _family(one: Mapping[str, Any]) -> str:
    return str(one.get("taskDefinitionArn", "")).rpartition("/")[2].rpartition(":")[0]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
