"""Airflow, imported once for many containers: what a template prepares, and how its forks continue.

``prepare`` imports everything that a component or an Airflow task imports, without letting Airflow initialise itself
(``_AIRFLOW__AS_LIBRARY``): no database engine, no logging, no plugins. A fork first replaces the template's folders
with its own (``relocate``), then lets Airflow initialise itself, and continues like ``python``. Where a fork cannot
(another program, other options of ``python``, another configuration), it calls ``exec``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.metadata
import inspect
import linecache
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from skylift.aws import clients
from skylift.aws.rehearsal import rehearse
from skylift.core.containers import LAYER, LAYER_CACHE
from skylift.core.templates import base_of
from skylift.runtime import heap_fill, relocate, run_python
from skylift.runtime.components import Component, home_of
from skylift.runtime.layer import PLUGINS, SITE_PACKAGES, folder_name, with_layer

MODULES = (
    # Airflow tasks
    "airflow.executors.workloads",
    "airflow.executors.base_executor",
    "airflow.sdk.log",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.providers.standard.operators.python",
    "airflow.providers.standard.operators.bash",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.amazon.aws.log.cloudwatch_task_handler",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.definitions.decorators.task_group",
    "airflow.sdk._shared.logging.factory",
    "airflow.utils.log.timezone_aware",
    "aiosqlite",
    "boto3.s3.inject",
    "httpcore",
    "jinja2.ext",
    "skylift.runtime.aws_sessions",
    "skylift.runtime.bundle",
    "skylift.runtime.metrics.client",
    "skylift.runtime.startup",
    "skylift.runtime.task_logs",
    # components: what all of them import sooner or later is in memory only once
    "airflow.__main__",
    "airflow.cli.cli_parser",
    "airflow.migrations.utils",
    "airflow.models.dag_favorite",
    "airflow.models.renderedtifields",
    "airflow.models.task_state_store",
    "alembic.command",
    "psycopg2.extras",
    "skylift.runtime.execution_api",
    "airflow.cli.commands.scheduler_command",
    "airflow.jobs.scheduler_job_runner",
    "skylift.executors.ecs",
    "airflow.cli.commands.dag_processor_command",
    "airflow.jobs.dag_processor_job_runner",
    "airflow.dag_processing.processor",
    "airflow.cli.commands.triggerer_command",
    "airflow.jobs.triggerer_job_runner",
    "airflow.cli.commands.api_server_command",
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.execution_api.app",
    "airflow.api_fastapi.execution_api.routes",
    "airflow.api_fastapi.execution_api.versions",
    "asyncpg",
    "psycopg2",
    "uvicorn.main",
)
"""What is imported, measured in ``docs/decisions/0004-fast-starts.md``. All share one template: 170 MB, once per
machine."""

FOR_CELERY = (
    "airflow.providers.celery.cli.celery_command",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.log",
    "celery.app.trace",
    "celery.backends.database.models",
    "celery.backends.database.session",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.utils.dispatch",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "celery.worker.worker",
    "kombu.asynchronous.aws.sqs.connection",
    "kombu.asynchronous.http.curl",
    "kombu.transport.SQS",
    "skylift.runtime.workers.start",
)
"""What Celery's workers and its executor import, where there is one. Not the executor itself: its module reads the
database's address, which a template does not have."""

ON_THE_STACK = (
    "runpy",
    "functools",
    "structlog._native",
    "__main__",
    "skylift.runtime.run_python",
    "skylift.runtime.template",
    "airflow.sdk.log",
    "airflow.sdk._shared.logging.structlog",
    "airflow.providers.amazon.aws.log.cloudwatch_task_handler",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.amazon.aws.utils.suppress",
)
"""Modules whose source is read when the log handler's AWS hook inspects the stack."""

AS_LIBRARY = "_AIRFLOW__AS_LIBRARY"
"""Airflow's switch for importing without initialising (``airflow/__init__.py``)."""

CELERY = "CeleryExecutor"

_M_ARENA_MAX = -8


@dataclass(frozen=True)
class Prepared:
    """A prepared template.

    Attributes:
        environment: the variables that decide what was imported, and how.
        refs: where modules have stored HOME.
    """

    environment: Mapping[str, str]
    refs: relocate.PathRefs


_prepared: list[Prepared] = []
"""Set in a template and its forks, otherwise ``None``."""


class CannotPrepare(Exception):
    """There can never be a template for this environment; the text says why."""


def prepare() -> str:
    """Imports Airflow. This process has ``base_of`` a container's environment, and its own HOME. Returns what it had to
    leave out, in words, or nothing.

    Raises:
        CannotPrepare: the layer is not on this machine yet, or changes how Python starts.
        CannotRelocate: a module has stored HOME where it cannot be changed.
    """
    # It searches memory for the command line, which it cannot find once variables were changed.
    importlib.import_module("setproctitle").getproctitle()
    environment = home_of(os.environ)
    if url := LAYER.read(environment):
        environment = _with_layer(environment, Path(LAYER_CACHE.read(environment)) / folder_name(url))
    os.environ.update(environment)
    os.environ[AS_LIBRARY] = "1"
    _limit_arenas(int(environment["MALLOC_ARENA_MAX"]))
    _remember_signatures(importlib.import_module("fastapi.dependencies.utils"))
    for name in (*MODULES, *(FOR_CELERY if CELERY in environment.get("AIRFLOW__CORE__EXECUTOR", "") else ())):
        importlib.import_module(name)
    del os.environ[AS_LIBRARY]
    omitted = _warm(environment)
    tempfile.tempdir = None
    _prepared.append(Prepared(decisive(environment), relocate.find(environment["HOME"])))  # collects garbage first
    gc.freeze()
    heap_fill.fill()  # last: later code frees further blocks
    return omitted


def fits(arguments: Sequence[str]) -> bool:
    """Whether ``act`` can do what ``python`` would do with these arguments (the first is its own name)."""
    return run_python.understands(arguments)


def act(arguments: Sequence[str]) -> NoReturn:
    """Does what ``python`` would do with these arguments."""
    run_python.run(arguments)


def can_continue(program: Component) -> bool:
    """Whether this process is a fork of a template that fits ``program``."""
    environment = program.environment
    return (
        bool(_prepared)
        and shutil.which(program.argv[0], path=environment.get("PATH")) == sys.executable
        and run_python.understands(program.argv)
        and decisive(environment) == _prepared[0].environment
        and not Path(environment["AIRFLOW_HOME"], "airflow.cfg").exists()  # it would have been read at the import
    )


def go_on(program: Component) -> NoReturn:
    """Continues as ``program`` in this process, like ``exec``; only when ``can_continue``. Unwinds the stack."""
    environment = program.environment
    os.environ.clear()
    os.environ.update(environment)
    _prepared[0].refs.move(environment["AIRFLOW_HOME"], environment["HOME"])
    if (
        Path(environment["HOME"], ".aws").exists()
        or {"AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_DATA_PATH"} & environment.keys()
    ):
        clients.forget()  # the startup script may have set AWS configuration
    settings = importlib.import_module("airflow.settings")
    # Read at import, and set too late here: used only for the length of asset names on MySQL.
    asset, configuration = (
        importlib.import_module(f"airflow.sdk.{name}") for name in ("definitions.asset", "configuration")
    )
    vars(asset)["SQL_ALCHEMY_CONN"] = configuration.conf.get("database", "SQL_ALCHEMY_CONN", fallback="NOT AVAILABLE")
    # Read at import, too: how many processes LocalExecutor has.
    base = importlib.import_module("airflow.executors.base_executor").BaseExecutor
    limit = configuration.conf.getint("core", "parallelism", fallback=32)
    base.__init__.__defaults__ = (limit, *base.__init__.__defaults__[1:])
    settings.initialize()
    raise run_python.Next(program.argv)


def _warm(environment: Mapping[str, str]) -> str:
    """Does once what every Airflow task would repeat; measured with cProfile in a fork. Returns what it left out."""
    inspect.stack()  # finds the files of all modules once, 0.1 s; Airflow's AWS hooks inspect the stack
    inspect.modulesbyfile["<frozen runpy>"] = "runpy"  # otherwise it would search all modules again and again
    for name in ON_THE_STACK:
        linecache.getlines(str(importlib.import_module(name).__file__))
    # S3 twice: the supervisor downloads the workload, the Airflow task's process its DAG, and sends its metrics.
    clients.preload("s3", "logs", "s3", brief=["cloudwatch"])
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version(
            "nobody-made-it"
        )  # looks into every folder, once; Airflow asks for a package that is not there
    omitted = _rehearsed()
    _map_models()
    _open_nothing()
    _share_adapters(*(importlib.import_module(f"airflow.sdk.execution_time.{one}") for one in ("comms", "task_runner")))
    _forget_policies()
    # In this process and its forks only
    logging.Logger.setLevel = _set_level  # type: ignore[method-assign, assignment]
    url = environment.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "")
    if url.startswith("http://"):  # its client makes a TLS context that it never needs, 30 ms, and keeps it
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # Airflow's logging is not configured here; ours is the template's pipe
            importlib.import_module("airflow.sdk.api.client").Client(base_url=url, token="").close()
    return omitted


def _remember_signatures(utils: Any) -> None:
    """FastAPI asks the same functions for their parameters again for each route that depends on them, and for each
    router that includes the route: a fifth of the API server's start.

    Args:
        utils: FastAPI's module.
    """
    ask, known = utils.get_typed_signature, dict[Any, Any]()

    def remembered(call: Any) -> Any:
        try:
            if call not in known:
                known[call] = ask(call)
            return known[call]
        except TypeError:  # it has no hash
            return ask(call)

    utils.get_typed_signature = remembered


def _rehearsed() -> str:
    """Makes the first calls; returns why it could not, in one line."""
    try:
        rehearse()
    except Exception as error:  # noqa: BLE001  it only saves time: without it a container does all that itself
        return "its first calls are not rehearsed: " + " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def _map_models() -> None:
    """What SQLAlchemy does at a component's first query, for all of Airflow's models: saves 0.1 s and 15 MB in each
    component."""
    importlib.import_module("airflow.models").import_all_models()
    importlib.import_module("sqlalchemy.orm").configure_mappers()


def _open_nothing() -> None:
    """What SQLAlchemy imports and compiles for its first engine: ``initialize()`` makes two, which an Airflow task
    never connects."""
    url = "sqlite+{driver}:////nowhere"
    importlib.import_module("sqlalchemy").create_engine(url.format(driver="pysqlite"))
    importlib.import_module("sqlalchemy.ext.asyncio").create_async_engine(url.format(driver="aiosqlite"))


def _share_adapters(comms: Any, runner: Any) -> None:
    """Pydantic's validators of what an Airflow task's process hears from its supervisor, and of each rendered field,
    which Airflow (3.3.2) builds anew each time; with ``_open_nothing`` 3 ms of each container.

    Args:
        comms, runner: Airflow's modules.
    """
    new = comms.TypeAdapter
    made = {id(one): new(one) for one in (comms.ToTask, runner.JsonValue)}
    for module in (comms, runner):
        vars(module)["TypeAdapter"] = lambda wanted: made.get(id(wanted)) or new(wanted)


def _forget_policies() -> None:
    """Where no package has a policy (packages of layers count too), Airflow need not search all 165 of them again;
    saves 8 ms."""
    if not importlib.metadata.entry_points(group="airflow.policy"):
        importlib.import_module(
            "airflow.settings"
        ).get_policy_plugin_manager().load_setuptools_entrypoints = _no_plugins


def _no_plugins(_group: str, _name: str | None = None) -> int:
    """Replaces ``load_setuptools_entrypoints`` of one ``pluggy.PluginManager``; returns 0 entry points."""
    return 0


_logging_set_level = logging.Logger.setLevel


def _set_level(logger: logging.Logger, level: int | str) -> None:
    """Like logging's own method, which however clears the caches of all loggers even when the level stays the same.
    ``dictConfig``, which an Airflow task runs three times, does so for 90 of 250 loggers, most of them without a
    level."""
    if logging._checkLevel(level) != logger.level:  # type: ignore[attr-defined]  # it says what a level's name means
        _logging_set_level(logger, level)


def _with_layer(environment: Mapping[str, str], layer: Path) -> dict[str, str]:
    """Like ``runtime.layer``, but never downloads: a template has no credentials. The first plain container downloads
    the layer."""
    if not layer.is_dir():
        raise CannotPrepare(f"the layer {layer.name} is not on this machine yet")
    places = [str(layer / name) for name in (SITE_PACKAGES, PLUGINS) if (layer / name).is_dir()]
    for place in places:
        if any(Path(place, f"{name}.py").exists() for name in ("sitecustomize", "usercustomize")):
            raise CannotPrepare("the layer has a sitecustomize.py, which runs before everything else")
    sys.path[:0] = places  # where Python puts PYTHONPATH
    return with_layer(environment, layer)


def _limit_arenas(most: int) -> None:
    """Applies MALLOC_ARENA_MAX to a process that already runs; glibc only."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, most)


def decisive(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a template depends on, with the container's own folders as ``~``, because they are
    relocated."""
    home, airflow_home = environment.get("HOME") or "/", environment["AIRFLOW_HOME"]
    return {
        name: value.replace(airflow_home, "~/airflow").replace(home, "~")
        for name, value in base_of(environment).items()
    }
