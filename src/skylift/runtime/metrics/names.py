"""The names of Airflow's StatsD metrics on Amazon MWAA: one table, from which the documentation is made, too. Pure.

Source: the user guide's page "Apache Airflow environment metrics in CloudWatch". The StatsD names are Airflow's legacy
ones, which contain DAG, task, pool and so on (``[metrics] legacy_names_on``). MWAA uses the same, so the user's
``metrics_allow_list`` and ``metrics_block_list`` mean the same here. In such a name, a dot of an id becomes two
underscores. Names that Airflow 3 has changed are listed next to the old ones. Other metrics are not sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

NAMESPACE = "AmazonMWAA"
ALL = "All"
COUNT, SECONDS, MILLISECONDS, PERCENT = "Count", "Seconds", "Milliseconds", "Percent"

Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MetricName:
    """One metric in CloudWatch.

    Attributes:
        name: e.g. ``TaskInstanceDuration``.
        unit: CloudWatch's.
        dimensions: name and value, without the environment's.
    """

    name: str
    unit: str
    dimensions: Dimensions


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes:
        stat: Airflow's name; ``{dag}`` matches one of its words, ``{*rest}`` all remaining words.
        name: CloudWatch's.
        unit: of the value that Airflow reports.
        dimensions: values may be ``{dag}`` and the like.
    """

    stat: str
    name: str
    unit: str
    dimensions: Mapping[str, str]

    def pattern(self) -> re.Pattern[str]:
        """Matches a whole StatsD name."""
        parts = re.split(r"\{(\*?)(\w+)\}", self.stat)
        out = re.escape(parts[0])
        for star, word, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            out += f"(?P<{word}>{'.+' if star else _WORDS.get(word, r'[^.]+')}){re.escape(text)}"
        return re.compile(out)


_WORDS = {"job": r"[a-z]+(?:_[a-z]+)*"}


def _function(function: str, unit: str = COUNT, **names: str) -> list[Rule]:
    dimensions = {"Function": function}
    return [Rule(stat.replace("__", "."), name, unit, dimensions) for name, stat in names.items()]


_ALL_TASKS = {"DAG": ALL, "Task": ALL}
_TASK = {"DAG": "{dag}", "Task": "{task}"}

COUNTERS = (
    *_function(
        "Scheduler",
        Updates="asset__updates",
        CriticalSectionBusy="scheduler__critical_section_busy",
        FilePathQueueUpdateCount="dag_processing__file_path_queue_update_count",
        OtherCallbackCount="dag_processing__other_callback_count",
        SchedulerHeartbeat="scheduler_heartbeat",
        TasksKilledExternally="scheduler__tasks__killed_externally",
    ),
    *_function(
        "DAG Processing",
        ManagerStalls="dag_processing__manager_stalls",
        Processes="dag_processing__processes",
        DAGFileRefreshError="dag_file_refresh_error",
        ProcessorTimeouts="dag_processing__processor_timeouts",
    ),
    *_function(
        "Celery",
        FailedCeleryTaskExecution="celery__execute_command__failure",
        TaskTimeoutError="celery__task_timeout_error",
    ),
    *_function(
        "Trigger",
        TriggersSucceeded="triggers__succeeded",
        TriggersFailed="triggers__failed",
        TriggersBlockedMainThread="triggers__blocked_main_thread",
    ),
    *_function("Triggerer", TriggerHeartbeat="triggerer_heartbeat"),
    Rule("dag.callback_exceptions", "DagCallbackExceptions", COUNT, {"DAG": ALL}),
    Rule("ti.finish.{dag}.{task}.{state}", "TaskInstanceFinished", COUNT, {**_TASK, "State": "{state}"}),
    Rule("ti.start.{dag}.{task}", "StartedTaskInstances", COUNT, _ALL_TASKS),
    Rule("ti_failures", "TaskInstanceFailures", COUNT, _ALL_TASKS),
    Rule("ti_successes", "TaskInstanceSuccesses", COUNT, _ALL_TASKS),
    Rule("previously_succeeded", "TaskInstancePreviouslySucceeded", COUNT, _ALL_TASKS),
    Rule("task_instances_without_heartbeats_killed", "ZombiesKilled", COUNT, _ALL_TASKS),
    Rule("zombies_killed", "ZombiesKilled", COUNT, _ALL_TASKS),
    Rule("operator_failures_{operator}", "OperatorFailures", COUNT, {"Operator": "{operator}"}),
    Rule("operator_successes_{operator}", "OperatorSuccesses", COUNT, {"Operator": "{operator}"}),
    Rule("task_instance_created_{operator}", "TaskInstanceCreatedUsingOperator", COUNT, {"Operator": "{operator}"}),
    Rule("task_removed_from_dag.{dag}", "TaskRemovedFromDAG", COUNT, {"DAG": "{dag}"}),
    Rule("task_restored_to_dag.{dag}", "TaskRestoredToDAG", COUNT, {"DAG": "{dag}"}),
    Rule("{job}_heartbeat_failure", "JobHeartbeatFailure", COUNT, {"Job": "{job}"}),
    Rule("{job}_start", "JobStart", COUNT, {"Job": "{job}"}),
    Rule("{job}_end", "JobEnd", COUNT, {"Job": "{job}"}),
)

GAUGES = (
    *_function(
        "Scheduler",
        Orphaned="asset__orphaned",
        OrphanedTasksAdopted="scheduler__orphaned_tasks__adopted",
        OrphanedTasksCleared="scheduler__orphaned_tasks__cleared",
        TasksExecutable="scheduler__tasks__executable",
        TasksRunning="scheduler__tasks__running",
        TasksStarving="scheduler__tasks__starving",
        TasksWithoutDagRun="scheduler__tasks__without_dagrun",
        TriggeredDagRuns="asset__triggered_dagruns",
    ),
    *_function(
        "Executor",
        OpenSlots="executor__open_slots",
        QueuedTasks="executor__queued_tasks",
        RunningTasks="executor__running_tasks",
    ),
    *_function("DAG Processing", DagBagSize="dagbag_size", ImportErrors="dag_processing__import_errors"),
    *_function("DAG Processing", SECONDS, TotalParseTime="dag_processing__total_parse_time"),
    *(
        Rule(f"pool.{stat}.{{*pool}}", name, COUNT, {"Pool": "{pool}"})
        for stat, name in (
            ("open_slots", "PoolOpenSlots"),
            ("queued_slots", "PoolQueuedSlots"),
            ("running_slots", "PoolRunningSlots"),
            ("deferred_slots", "PoolDeferredSlots"),
            ("scheduled_slots", "PoolScheduledSlots"),
            ("starving_tasks", "PoolStarvingTasks"),
        )
    ),
    Rule(
        "dag_processing.last_run.seconds_ago.{*file}",
        "DAGFileProcessingLastRunSecondsAgo",
        SECONDS,
        {"DAG Filename": "{file}"},
    ),
    Rule(
        "dag_processing.last_num_of_db_queries.{*file}",
        "DAGFileProcessingLastNumOfDbQueries",
        COUNT,
        {"DAG Filename": "{file}"},
    ),
    Rule("triggers.running.{*host}", "TriggersRunning", COUNT, {"Function": "Trigger", "HostName": "{host}"}),
    Rule("cpu.usage.{dag}.{task}", "TaskCpuUsage", PERCENT, _TASK),
    Rule("mem.usage.{dag}.{task}", "TaskMemoryUsage", PERCENT, _TASK),
)

TIMERS = (
    *_function("DAG Processing", MILLISECONDS, CollectDBDags="collect_db_dags"),
    *_function(
        "Scheduler",
        MILLISECONDS,
        CriticalSectionDuration="scheduler__critical_section_duration",
        CriticalSectionQueryDuration="scheduler__critical_section_query_duration",
        SchedulerLoopDuration="scheduler__scheduler_loop_duration",
    ),
    Rule("dagrun.dependency-check.{dag}", "DAGDependencyCheck", MILLISECONDS, {"DAG": "{dag}"}),
    Rule("dagrun.duration.failed.{dag}", "DAGDurationFailed", MILLISECONDS, {"DAG": "{dag}"}),
    Rule("dagrun.duration.success.{dag}", "DAGDurationSuccess", MILLISECONDS, {"DAG": "{dag}"}),
    Rule("dagrun.schedule_delay.{dag}", "DAGScheduleDelay", MILLISECONDS, {"DAG": "{dag}"}),
    Rule("dagrun.{dag}.first_task_scheduling_delay", "FirstTaskSchedulingDelay", MILLISECONDS, {"DAG": "{dag}"}),
    # Airflow reports seconds here, although a StatsD timer is in milliseconds. Airflow 3.3 puts the bundle first.
    Rule(
        "dag_processing.last_duration.{bundle}.{*file}",
        "DAGFileProcessingLastDuration",
        SECONDS,
        {"DAG Filename": "{file}"},
    ),
    Rule("dag.{dag}.{task}.duration", "TaskInstanceDuration", MILLISECONDS, _TASK),
    Rule("dag.{dag}.{task}.queued_duration", "TaskInstanceQueuedDuration", MILLISECONDS, _TASK),
    Rule("dag.{dag}.{task}.scheduled_duration", "TaskInstanceScheduledDuration", MILLISECONDS, _TASK),
)

_EXACT = {rule.stat: rule for rule in (*COUNTERS, *GAUGES, *TIMERS) if "{" not in rule.stat}
_PATTERNS = [(rule.pattern(), rule) for rule in (*COUNTERS, *GAUGES, *TIMERS) if "{" in rule.stat]


@lru_cache(maxsize=10_000)
def named(stat: str) -> MetricName | None:
    """The metric in CloudWatch of a StatsD name without its prefix; ``None`` if MWAA has none."""
    rule = _EXACT.get(stat)
    if rule is not None:
        return MetricName(rule.name, rule.unit, tuple(rule.dimensions.items()))
    for pattern, rule in _PATTERNS:
        found = pattern.fullmatch(stat)
        if found is not None:
            words = found.groupdict()
            dimensions = tuple((name, value.format(**words)) for name, value in rule.dimensions.items())
            return MetricName(rule.name, rule.unit, dimensions)
    return None
