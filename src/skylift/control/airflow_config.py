"""How an environment's Airflow is configured: environment variables, each with its reason. Pure.

Precedence from low to high, as in MWAA: our defaults, the user's options (``AirflowConfigurationOptions``), and what
the environment needs. MWAA's model marks the user's options as sensitive, so they are ECS ``secrets``, not plain
variables. Option names are those of Airflow 3.3's ``config.yml``; a test compares this table with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from skylift.control.api.validation import LEAST_WORKERS
from skylift.control.blueprint import EXECUTOR_ROLE, executors, has_workers
from skylift.control.part_context import PartContext, batch_place, broker_queue
from skylift.control.scaling import slots
from skylift.control.settings import ENVIRONMENT_OPTIONS, VARIABLES, option_of
from skylift.core.containers import BUNDLE_NAME, CONTAINER_NAME, WEB_PORT, Command
from skylift.core.environment import BATCH_EXECUTOR
from skylift.core.names import arn, log_group, s3_url

PROTECTED = frozenset(
    {
        "AIRFLOW__AWS_MWAA__REDIRECT_URL",
        "AIRFLOW__WEBSERVER__BASE_URL",
        "AIRFLOW__WEBSERVER__SECRET_KEY",
        "AIRFLOW__CORE__DATABASE_ACCESS_ISOLATION",
        "AIRFLOW__CORE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CELERY__BROKER_URL",
        "AIRFLOW__CELERY__RESULT_BACKEND",
        # Read as the number of Airflow tasks of a worker, as on MWAA; Celery itself never changes it.
        "AIRFLOW__CELERY__WORKER_AUTOSCALE",
    }
)
"""Options that MWAA resets when a user sets them, and for which we have no value."""

SECRET_OPTIONS = {
    "AIRFLOW__CORE__FERNET_KEY": "fernet_key",
    "AIRFLOW__API_AUTH__JWT_SECRET": "jwt_secret",
    "AIRFLOW__API__SECRET_KEY": "api_secret_key",
}
"""Variables whose value is a key of the secret ``skylift/{env}/airflow`` (``parts/secrets.py`` makes it)."""

DATABASE_OPTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
"""Airflow derives the async URL itself (``postgresql+psycopg2`` becomes ``postgresql+asyncpg``,
airflow/settings.py)."""


OF_THE_CONTROL_PLANE = frozenset(f"AIRFLOW__SKYLIFT__{one.name.upper()}" for one in ENVIRONMENT_OPTIONS)
"""Options that Airflow does not get."""

OF_THE_WORKER = ("supervisor", "airflow.sdk.execution_time.execute_workload")
"""Loggers of the process that watches over an Airflow task: what MWAA's workers log."""


def variable(option: str) -> str:
    """``section.key`` as Airflow's environment variable."""
    section, _, key = option.partition(".")
    return f"AIRFLOW__{section.upper()}__{key.upper()}".replace(".", "_")


def opinions(context: PartContext) -> dict[str, str]:
    """Our defaults; the user may override them."""
    spec = context.spec
    return {
        # How often the bundle checks S3 for changes (docs/decisions/0002-dag-latency.md).
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        # Who may sign in, and with which role, is decided by IAM. FAB's auth manager is a user's option.
        "AIRFLOW__CORE__AUTH_MANAGER": "skylift.runtime.auth.manager.SkyliftAuthManager",
        # A table in the log each 30 s is noise.
        "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "300",
        # A container may have to be placed and pulled first; MWAA's own value.
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "1800",
        # Seconds without a heartbeat after which the scheduler gives an Airflow task up: Airflow's own value. If the
        # control plane sees a worker end, it does not wait for that (control/worker_ends.py).
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
        # Airflow tasks that wait for their container keep a valid token; MWAA's own value.
        "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "86400",
        # A running Airflow task outlives its API server: about two minutes of retries, while ECS starts another
        # (Airflow's own five may be over in ten seconds). The scheduler waits for a heartbeat for
        # five minutes.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "24",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "10",
        # How fast containers may be launched depends on where they run.
        "AIRFLOW__SKYLIFT__LAUNCHES_PER_SECOND": str(context.settings.launches_per_second),
        # How long new work may wait until the scheduler sees it; one check costs 12 ms of CPU.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": str(context.settings.scheduler_idle_milliseconds / 1000),
        # One process is enough behind one load balancer target; each costs 200 MB.
        "AIRFLOW__API__WORKERS": "1",
        # AWS's models are read once in a process, not once in each session: 35 ms of CPU in each Airflow task.
        "AIRFLOW__AWS__SESSION_FACTORY": "skylift.runtime.aws_sessions.SessionFactory",
        # The provider's names in CloudWatch, with half of the calls.
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "skylift.runtime.task_logs.LOGGING_CONFIG",
        # Which environment is this? Airflow's UI shows it in its title and its navigation.
        **({} if _names_instance(spec.options) else {"AIRFLOW__API__INSTANCE_NAME": spec.name}),
        # Escape codes are noise in CloudWatch.
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    }


def _names_instance(options: Mapping[str, str]) -> bool:
    """Whether the user has set the instance's name, under the current option or the one before Airflow 3.1, which our
    default would override."""
    return not {"api.instance_name", "webserver.instance_name"}.isdisjoint(option.lower() for option in options)


def opinions_of(context: PartContext, role: str) -> dict[str, str]:
    """Like ``opinions``, for the containers of one role."""
    if role in {EXECUTOR_ROLE, Command.WORKER}:
        level = context.spec.logging["WorkerLogs"].level
        return {"AIRFLOW__LOGGING__NAMESPACE_LEVELS": " ".join(f"{name}={level}" for name in OF_THE_WORKER)}
    if role == Command.SCHEDULER:
        most = slots(context.spec) * context.spec.max_workers
        # MWAA's promise for MaxWorkers is so many Airflow tasks at once; here each is an ECS task of its own. Only the
        # scheduler reads it, so nothing else restarts for another number.
        return {"AIRFLOW__CORE__PARALLELISM": str(most)}
    if role != Command.API_SERVER:
        return {}
    # As many connections as with Airflow's numbers (5, and 10 that are closed after each use), all of which are kept: a
    # new one costs as much as the request. ``skylift.runtime.database_pool`` closes them when nothing goes on.
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "15", "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "0"}


def essentials(context: PartContext, module: str) -> dict[str, str]:
    """What the environment needs, whatever the user sets.

    Args:
        module: the log module whose level applies, e.g. ``SchedulerLogs``.
    """
    spec = context.spec
    return {
        "AIRFLOW__CORE__EXECUTOR": ",".join(executors(spec)),
        # Examples would appear in every environment's DAG list.
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Where Airflow tasks report; the load balancer's name stays the same when API servers are replaced.
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{web_url(context)}/execution/",
        "AIRFLOW__API__BASE_URL": f"{web_url(context)}/",
        "AIRFLOW__API__PORT": str(WEB_PORT),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": _bundles(context),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": _level(context, module),
        # What DAG files print while they are parsed; nobody could read files inside the container.
        "AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET": "stdout",
        **_task_logs(context, module),
        **_metrics(context),
        **_executor(context),
        **(_celery(context) if has_workers(spec) else {}),
    }


def user_options(context: PartContext) -> dict[str, str]:
    """The user's options by variable, without those that are ours."""
    ours = {*essentials(context, "TaskLogs"), *SECRET_OPTIONS, DATABASE_OPTION, *PROTECTED, *OF_THE_CONTROL_PLANE}
    return {
        variable(option): value
        for option, value in sorted(context.spec.options.items())
        # The control plane itself reads the one option that Airflow does not know.
        if "." in option and variable(option) not in ours and option.lower() != LEAST_WORKERS
    }


def references(context: PartContext) -> dict[str, str]:
    """The user's other variables, whose values stay where they are: name -> ARN of a secret or parameter."""
    taken = {*essentials(context, "TaskLogs"), *SECRET_OPTIONS, DATABASE_OPTION, *PROTECTED, *user_options(context)}
    return {name: source for name, source in option_of(VARIABLES, context.spec.options).items() if name not in taken}


def web_url(context: PartContext) -> str:
    """The API server's address behind its load balancer, without a slash at its end."""
    return f"http://{context.fact('web.address')}"


def _bundles(context: PartContext) -> str:
    kwargs = {"url": s3_url(context.spec.bucket, context.spec.dag_prefix)}
    return json.dumps([{"name": BUNDLE_NAME, "classpath": "skylift.runtime.bundle.S3Bundle", "kwargs": kwargs}])


def _task_logs(context: PartContext, module: str) -> dict[str, str]:
    # The DAG processor runs no Airflow tasks, and would put its files' logs among theirs (its own are on stdout).
    if module == "DagProcessingLogs" or not context.spec.logging["TaskLogs"].enabled:
        return {"AIRFLOW__LOGGING__REMOTE_LOGGING": "False"}
    group = "log-group:" + log_group(context.spec.name, "TaskLogs")
    return {
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "cloudwatch://"
        + arn("logs", context.settings.region, context.settings.account, group),
        # What is in CloudWatch need not fill the container's disk, too (the triggerer's lives for months).
        "AIRFLOW__LOGGING__DELETE_LOCAL_LOGS": "True",
        # Empty: the container's own role, no Airflow connection to look up (and none to forget).
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "",
    }


def _level(context: PartContext, module: str) -> str:
    """The log level of a module's component. The executor's containers use the level of the Airflow tasks' own logs;
    what else the container prints has the worker's level (``opinions_of``)."""
    logging = context.spec.logging
    return logging["TaskLogs" if module == "WorkerLogs" and logging["TaskLogs"].enabled else module].level


def _metrics(context: PartContext) -> dict[str, str]:
    """Sends Airflow's metrics to CloudWatch. As on MWAA, a user may switch that off (``metrics.statsd_on``), and select
    metrics (``metrics_allow_list``, ``metrics_block_list``); we set the other StatsD options. The user may set
    OpenTelemetry's."""
    off = context.spec.options.get("metrics.statsd_on", "").strip().lower() in {"false", "f", "0"}
    return {
        "AIRFLOW__METRICS__STATSD_ON": str(not off),
        "AIRFLOW__METRICS__STATSD_CUSTOM_CLIENT_PATH": "skylift.runtime.metrics.client.CloudWatchStats",
        # The names that MWAA's metrics, and the user's lists, are made of.
        "AIRFLOW__METRICS__LEGACY_NAMES_ON": "True",
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "False",
        "AIRFLOW__METRICS__STAT_NAME_HANDLER": "",
        # It would go before StatsD.
        "AIRFLOW__METRICS__STATSD_DATADOG_ENABLED": "False",
        # Nothing listens there, and nothing is sent there.
        "AIRFLOW__METRICS__STATSD_HOST": "localhost",
        "AIRFLOW__METRICS__STATSD_PORT": "8125",
        "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
        "AIRFLOW__METRICS__STATSD_IPV6": "False",
    }


def _executor(context: PartContext) -> dict[str, str]:
    """Sections ``[aws_ecs_executor]`` and ``[aws_batch_executor]`` as in the amazon provider, and our own
    ``[skylift]``."""
    spec, settings = context.spec, context.settings
    place = batch_place(spec.name) if BATCH_EXECUTOR in executors(spec) else ""
    batch = {"JOB_QUEUE": place, "JOB_DEFINITION": place, "JOB_NAME": "airflow", "REGION_NAME": settings.region}
    return {
        **{f"AIRFLOW__AWS_BATCH_EXECUTOR__{name}": value for name, value in batch.items() if place},
        "AIRFLOW__AWS_ECS_EXECUTOR__CLUSTER": settings.cluster,
        "AIRFLOW__AWS_ECS_EXECUTOR__CONTAINER_NAME": CONTAINER_NAME,
        # The family, not a revision: an Airflow task that starts after an update runs in the new one.
        "AIRFLOW__AWS_ECS_EXECUTOR__TASK_DEFINITION": f"skylift-{spec.name}-task",
        "AIRFLOW__AWS_ECS_EXECUTOR__REGION_NAME": settings.region,
        "AIRFLOW__AWS_ECS_EXECUTOR__SUBNETS": ",".join(spec.subnets),
        "AIRFLOW__AWS_ECS_EXECUTOR__SECURITY_GROUPS": ",".join(spec.security_groups),
        "AIRFLOW__AWS_ECS_EXECUTOR__ASSIGN_PUBLIC_IP": "False",
        "AIRFLOW__AWS_ECS_EXECUTOR__LAUNCH_TYPE": settings.launch_type,
        "AIRFLOW__SKYLIFT__PAYLOAD_URL": s3_url(settings.bucket, f"workloads/{spec.name}"),
        "AIRFLOW__SKYLIFT__EVENTS_QUEUE": context.fact("events.queue"),
    }


def _celery(context: PartContext) -> dict[str, str]:
    """Celery over SQS. Scheduler and workers must agree on all of it, so every component has it."""
    spec, settings = context.spec, context.settings
    queue = {"url": context.fact("broker.url")}
    default = next(
        (text for name, text in spec.options.items() if name.lower() == "operators.default_queue"), "default"
    )
    return {
        # boto3 finds the endpoint and the credentials.
        "AIRFLOW__CELERY__BROKER_URL": "sqs://",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__REGION": settings.region,
        # One queue under several names: serialized DAGs keep the name that was the default when they were parsed, and
        # Celery fails an Airflow task whose queue has no URL.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__PREDEFINED_QUEUES": json.dumps(
            dict.fromkeys(("default", broker_queue(spec.name), default), queue)
        ),
        # An idle worker makes a call in so many seconds, and needs as long to stop.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__WAIT_TIME_SECONDS": "8",
        # The queue's own attribute counts; this stops the provider's warning.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "60",
        # Remote control would make a queue of its own for each worker, and does not work with SQS.
        "AIRFLOW__CELERY__WORKER_ENABLE_REMOTE_CONTROL": "False",
        "AIRFLOW__CELERY__TASK_ACKS_LATE": "True",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(slots(spec)),
        # Airflow's one second is too short for a client's first call, and the Airflow task would fail.
        "AIRFLOW__CELERY__OPERATION_TIMEOUT": "15",
    }
