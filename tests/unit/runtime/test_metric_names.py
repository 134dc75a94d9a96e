"""Names of Airflow's metrics in CloudWatch: as MWAA's user guide has them, for what Airflow 3.3 really reports."""

from __future__ import annotations

import re

import pytest
from airflow._shared.observability.metrics.metrics_registry import MetricsRegistry

from skylift.runtime.metrics.names import COUNTERS, GAUGES, TIMERS, MetricName, named

pytestmark = pytest.mark.unit

OF_OTHER_AIRFLOWS = {
    "cpu.usage.{dag}.{task}",
    "mem.usage.{dag}.{task}",
    "scheduler.tasks.running",
    "scheduler.tasks.without_dagrun",
    "zombies_killed",
}
"""What MWAA's page lists and Airflow 3.3 has no more."""


@pytest.mark.parametrize(
    ("stat", "name", "unit", "dimensions"),
    [
        ("ti_successes", "TaskInstanceSuccesses", "Count", {"DAG": "All", "Task": "All"}),
        ("ti.start.my_dag.a__task", "StartedTaskInstances", "Count", {"DAG": "All", "Task": "All"}),
        (
            "ti.finish.my_dag.group__task.up_for_retry",
            "TaskInstanceFinished",
            "Count",
            {"DAG": "my_dag", "Task": "group__task", "State": "up_for_retry"},
        ),
        (
            "operator_failures__PythonDecoratedOperator",
            "OperatorFailures",
            "Count",
            {"Operator": "_PythonDecoratedOperator"},
        ),
        (
            "task_instance_created_BashOperator",
            "TaskInstanceCreatedUsingOperator",
            "Count",
            {"Operator": "BashOperator"},
        ),
        ("job_start", "JobStart", "Count", {"Job": "job"}),
        ("scheduler_job_heartbeat_failure", "JobHeartbeatFailure", "Count", {"Job": "scheduler_job"}),
        ("scheduler_heartbeat", "SchedulerHeartbeat", "Count", {"Function": "Scheduler"}),
        ("executor.running_tasks", "RunningTasks", "Count", {"Function": "Executor"}),
        ("pool.open_slots.my pool".replace(" ", "-"), "PoolOpenSlots", "Count", {"Pool": "my-pool"}),
        ("dag_processing.total_parse_time", "TotalParseTime", "Seconds", {"Function": "DAG Processing"}),
        ("dag_processing.last_duration.dags.etl", "DAGFileProcessingLastDuration", "Seconds", {"DAG Filename": "etl"}),
        ("dag.my_dag.my_task.duration", "TaskInstanceDuration", "Milliseconds", {"DAG": "my_dag", "Task": "my_task"}),
        ("dagrun.my_dag.first_task_scheduling_delay", "FirstTaskSchedulingDelay", "Milliseconds", {"DAG": "my_dag"}),
        ("dagrun.duration.failed.my_dag", "DAGDurationFailed", "Milliseconds", {"DAG": "my_dag"}),
        ("triggers.running.host__name", "TriggersRunning", "Count", {"Function": "Trigger", "HostName": "host__name"}),
    ],
)
def test_a_statsd_name_becomes_mwaas(stat: str, name: str, unit: str, dimensions: dict[str, str]) -> None:
    assert named(stat) == MetricName(name, unit, tuple(dimensions.items()))


@pytest.mark.parametrize(
    "stat", ["my.own.metric", "skylift.launches", "ti.finish.a.b", "ti_successes.more", "", "job.start"]
)
def test_what_mwaa_has_no_name_for_is_not_sent(stat: str) -> None:
    assert named(stat) is None


def reported() -> list[tuple[str, str]]:
    """Every metric of Airflow 3.3: its name, and the one with its tags in it, both with a word for each variable."""

    def filled(name: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: found[1].replace("_", "-"), name.replace("{job_name}", "job"))

    entries = MetricsRegistry()._metrics.values()
    return [(filled(one["name"]), "" if one["legacy_name"] == "-" else filled(one["legacy_name"])) for one in entries]


def test_a_metric_that_airflow_reports_under_two_names_counts_once() -> None:
    both = [names for names in reported() if names[1] and named(names[0]) and named(names[1])]
    assert both == []


def test_airflow_reports_whatever_is_in_the_table() -> None:
    stats = [stat for names in reported() for stat in names]
    unheard = {
        rule.stat
        for rule in (*COUNTERS, *GAUGES, *TIMERS)
        if not any(rule.pattern().fullmatch(stat) and named(stat) for stat in stats)
    }
    assert unheard == OF_OTHER_AIRFLOWS
