"""The options that both executors share, our own section ``[skylift]``, and how an option is read from Airflow's
``conf``.

The amazon provider declares its sections with Airflow, so ``conf`` returns its defaults like set values. Therefore a
value that equals the default counts as not set. Precedence, as documented: defaults < RUN_TASK_KWARGS /
SUBMIT_JOB_KWARGS < explicit options.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from skylift.core.errors import Refused
from skylift.core.secrecy import quoted
from skylift.core.settings import Setting, flag, whole_number
from skylift.executors.options.queues import Only, Words, fallback_list, queue_map
from skylift.executors.options.teams import TeamsOwn, sources_of, variable_of

T = TypeVar("T")

OWN_SECTION = "skylift"


def words(text: str) -> list[str]:
    """Parses a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def json_object(text: str) -> dict[str, Any]:
    """Parses a JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def json_list(text: str) -> list[Any]:
    """Parses a JSON list; also accepts Python's single quotes, which the amazon provider's own example has."""
    try:
        value = json.loads(text)
    except ValueError:
        value = json.loads(text.replace("'", '"'))
    if not isinstance(value, list):
        raise ValueError("expected a JSON list")
    return value


def some_seconds(text: str) -> float:
    """Parses a number of seconds, zero or more."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError("expected seconds, zero or more")
    return value


def one_of(*words: str) -> Callable[[str], str]:
    """Parses one of a few words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text

    return parse


def seconds(text: str) -> float:
    """Parses a number of seconds above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError("expected seconds, above zero")
    return value


REGION_NAME = Setting(
    "region_name", str, "", "AWS region of the cluster or job queue; empty: the region from AWS's own settings."
)
REGION = Setting("region", str, "", "Another spelling of region_name.")
CONN_ID = Setting(
    "conn_id",
    str,
    "aws_default",
    "Airflow connection with the AWS credentials, region and endpoints. If aws_default does not exist or is empty, "
    "AWS's usual credential chain is used. Any other connection must exist.",
)
AWS_CONN_ID = Setting("aws_conn_id", str, "", "Another spelling of conn_id.")
CHECK_HEALTH = Setting(
    "check_health_on_startup", flag, True, "Whether to check at start that the cluster (Batch: the job queue) exists."
)

PAYLOAD_URL = Setting(
    "payload_url",
    str,
    "",
    "s3://bucket/prefix for workloads. The scheduler needs s3:PutObject there; the container needs s3:GetObject, and "
    "s3:DeleteObject to delete what it fetched. Empty: the workload, with its token, is in the container's command.",
)
TAGS = Setting(
    "tags",
    flag,
    True,
    "Whether containers get the tags dag_id, task_id, run_id, map_index, try_number, and team if there are teams.",
)
LAST_LINES = Setting(
    "last_lines",
    whole_number(0, 100),
    20,
    "How many last lines of a container's log to show if it died without telling Airflow; 0: none. The scheduler "
    "needs ecs:DescribeTaskDefinition and logs:GetLogEvents for this.",
)
QUEUES: Setting[dict[str, Words]] = Setting(
    "queues",
    queue_map,
    {},
    "JSON object: for each Airflow queue, the options of the executors' own sections that differ, e.g. "
    '{"gpu": {"task_definition": "airflow-gpu", "launch_type": "EC2", "job_queue": "gpu"}}. Other queues use '
    "the sections' own values.",
)
CAPACITY_FALLBACK: Setting[list[Words]] = Setting(
    "capacity_fallback",
    fallback_list,
    [],
    "JSON list of what to try, one after the other, when AWS has no capacity, before the first choice is tried again: "
    "a launch type, a capacity provider, a strategy, or an object as in queues, e.g. "
    '["FARGATE_SPOT", "FARGATE", {"job_queue": "on-demand"}].',
)
EVENTS_QUEUE = Setting(
    "events_queue",
    str,
    "",
    "SQS queue (name, ARN or URL) that an EventBridge rule fills with the state changes of ECS tasks or Batch jobs; "
    "empty: polling only (docs/events.md).",
)
BATCH_ARRAYS = Setting(
    "batch_arrays",
    flag,
    False,
    "Whether AwsBatchExecutor submits workloads that are queued together, with the same queue and executor_config, as "
    "one array job of up to 10,000. Needs payload_url; the scheduler needs s3:GetObject and s3:ListBucket there.",
)
ARRAY_LINGER = Setting(
    "array_linger_seconds",
    seconds,
    2.0,
    "With batch_arrays: seconds that a workload waits for others to join its array job.",
)
POLL_SECONDS = Setting("poll_seconds", seconds, 1.0, "Seconds between two polls of a young attempt.")
POLL_MOST_SECONDS = Setting("poll_most_seconds", seconds, 10.0, "Longest time in seconds between two polls.")
MISSING_GRACE = Setting(
    "missing_grace_seconds",
    seconds,
    300.0,
    "Seconds during which MISSING from ECS does not yet mean that the ECS task is gone.",
)
CAPACITY_SECONDS = Setting(
    "capacity_seconds",
    seconds,
    1800.0,
    "Seconds that a launch waits while AWS has no capacity; then it fails. Independently, Airflow takes back a task "
    "instance that is queued longer than [scheduler] task_queued_timeout, and queues it again a few times.",
)
API_SERVER_SECONDS = Setting(
    "api_server_seconds",
    seconds,
    1800.0,
    "Seconds that a launch waits, one container after the other, while its containers cannot reach Airflow's API "
    "server; then it fails. Airflow's [scheduler] task_queued_timeout applies as with capacity_seconds.",
)
LAUNCH_RATE = Setting(
    "launches_per_second",
    whole_number(1, 1000),
    20,
    "Most launches per second for each scheduler (Fargate's own limit is 20). AwsBatchExecutor reads the default of "
    "20 as 40.",
)
WORKERS = Setting("workers", whole_number(1, 64), 8, "Threads for calls to AWS.")
END_SECONDS = Setting(
    "end_seconds", seconds, 10.0, "Most seconds that a stopping scheduler waits for calls in progress."
)

WARM_SECONDS = Setting(
    "warm_seconds",
    some_seconds,
    0.0,
    "Seconds that a container which has finished its Airflow task waits for another one of the same kind; 0: it ends "
    "at "
    "once. Needs payload_url; the container needs s3:PutObject there.",
)
WARM_SHARING = Setting(
    "warm_sharing",
    one_of("any", "dag", "run"),
    "any",
    "Which Airflow tasks may share a container: any (same queue and executor_config), dag (same DAG), or run (same DAG "
    "run).",
)

OWN_SETTINGS = (
    PAYLOAD_URL,
    TAGS,
    LAST_LINES,
    QUEUES,
    CAPACITY_FALLBACK,
    EVENTS_QUEUE,
    BATCH_ARRAYS,
    ARRAY_LINGER,
    POLL_SECONDS,
    POLL_MOST_SECONDS,
    MISSING_GRACE,
    CAPACITY_SECONDS,
    API_SERVER_SECONDS,
    LAUNCH_RATE,
    WORKERS,
    END_SECONDS,
    WARM_SECONDS,
    WARM_SHARING,
)


class Options:
    """The options of one section as one team sees them: its own values, otherwise the common ones.

    Args:
        conf: Airflow's ``conf``, or an executor's team-aware ``self.conf``: anything with its ``get``.
        exact: ``conf`` contains only set values, no defaults.
    """

    def __init__(self, conf: Any, section: str, *, exact: bool = False) -> None:
        self._conf, self._own = sources_of(conf)
        self._section = section
        self._exact = exact

    def __getitem__(self, setting: Setting[T]) -> T:
        """The value.

        Raises:
            Refused: missing or wrong; the text names the option and the team.
        """
        text = self._text(setting)
        if text == "":
            if setting.required:
                raise Refused(f"{self.name(setting)} is not set: {setting.meaning}")
            return setting.default  # type: ignore[return-value]  # as in Setting.read
        try:
            return setting.parse(text)
        except ValueError as error:
            raise Refused(
                f"{self.name(setting)}: {quoted(setting.name, text)} cannot be used: {error}. It is: {setting.meaning}"
            ) from error
        except RecursionError as error:
            raise Refused(f"{self.name(setting)}: it is nested too deeply. It is: {setting.meaning}") from error

    def name(self, setting: Setting[Any]) -> str:
        """The option as people know it: with the team and its variable, if the team sets it or must set it."""
        if isinstance(self._conf, Only):
            return setting.name
        name = f"[{self._section}] {setting.name}"
        team = self._conf.team if isinstance(self._conf, TeamsOwn) else ""
        if self._own and (self._own.rules(self._section, setting.name) or not self._text(setting)):
            team = self._own.team
        return f"{name} of team {team!r} ({variable_of(team, self._section, setting.name)})" if team else name

    @property
    def team(self) -> str:
        """Whose they are; "" if Airflow has no teams."""
        return self._own.team if self._own else ""

    def check(self, declared: Iterable[Setting[Any]]) -> None:
        """Reads all of them, so that a wrong one is reported at start, not when it is needed. Raises ``Refused``."""
        for setting in declared:
            self[setting]

    def set(self, setting: Setting[T]) -> bool:
        """Whether somebody gave it a value other than the default."""
        return bool(self._text(setting)) and self[setting] != setting.default

    def said(self, setting: Setting[Any]) -> bool:
        """Whether it was set; if that cannot be told from a default (Airflow's conf), whether it differs."""
        if self._exact:
            return self._conf.get(self._section, setting.name, fallback=None) is not None
        return self.set(setting)

    def layers(self) -> list[Options]:
        """The common options, then the team's own, which override them."""
        everybody = Options(self._conf, self._section, exact=self._exact)
        return [everybody, Options(self._own, self._section, exact=True)] if self._own else [everybody]

    def _text(self, setting: Setting[Any]) -> str:
        conf = self._own if self._own and self._own.rules(self._section, setting.name) else self._conf
        return str(conf.get(self._section, setting.name, fallback="") or "")


def camel(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """AWS's arguments from RUN_TASK_KWARGS or SUBMIT_JOB_KWARGS, whose keys may be in snake_case. Does not change the
    values of ``tags``."""

    def word(key: str) -> str:
        first, *rest = key.split("_")
        return first + "".join(part[:1].upper() + part[1:] for part in rest)

    return {
        word(key): camel(value) if isinstance(value, dict) and key.lower() != "tags" else value
        for key, value in keywords.items()
    }
