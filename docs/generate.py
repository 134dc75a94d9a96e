"""Writes the pages of docs/ that are made from the code; a test fails when a committed page differs. Run by ``make
docs``."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel
from docs.refusals import OURS, Refusal, refusals_of_tests

from skylift.control.api.provider import MwaaProvider
from skylift.control.settings import CONTROL_SETTINGS, ENVIRONMENT_OPTIONS
from skylift.core.containers import CONTAINER_SETTINGS
from skylift.core.environment import ENVIRONMENT_LIFE
from skylift.core.lifecycle import Lifecycle
from skylift.core.settings import Setting, WholeNumber
from skylift.executors.fleet.metrics import METRICS
from skylift.executors.fleet.metrics import PREFIX as METRICS_PREFIX
from skylift.executors.options.batch import BATCH_SECTION, BATCH_SETTINGS
from skylift.executors.options.ecs import ECS_SECTION, ECS_SETTINGS
from skylift.executors.options.queues import FALLBACK_WORDS, QUEUE_WORDS
from skylift.executors.options.settings import OWN_SECTION, OWN_SETTINGS
from skylift.localcloud.batch.lifecycle import BATCH_JOB
from skylift.localcloud.batch.provider import BatchProvider
from skylift.localcloud.behind.setting import OTHERS
from skylift.localcloud.containers.mounts import HOST_FOLDERS, MWAA_PATHS
from skylift.localcloud.containers.oci import RUNNER
from skylift.localcloud.containers.template import TEMPLATES
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.model.lifecycle import ECS_TASK, SERVICE
from skylift.localcloud.ecs.tasks.slots import SLOTS
from skylift.localcloud.elb.provider import ElbProvider
from skylift.localcloud.emulators.table import page as services
from skylift.localcloud.faults.kinds import KINDS, PRESETS, FaultKind
from skylift.localcloud.iam.mode import IAM_MODE
from skylift.localcloud.images.pythons import IMAGE_PYTHON
from skylift.localcloud.scaling.provider import ScalingProvider

DOCS = Path(__file__).parent
PROVIDERS: tuple[Any, ...] = (EcsProvider, BatchProvider, ElbProvider, ScalingProvider, MwaaProvider)
LIVES: tuple[tuple[str, Lifecycle[Any]], ...] = (
    ("src/skylift/core/environment.py", ENVIRONMENT_LIFE),
    ("src/skylift/localcloud/ecs/model/lifecycle.py", ECS_TASK),
    ("src/skylift/localcloud/ecs/model/lifecycle.py", SERVICE),
    ("src/skylift/localcloud/batch/lifecycle.py", BATCH_JOB),
)


def settings() -> str:
    """``docs/settings.md``."""
    return _page(
        "Settings",
        "Each setting is declared once, in the module named here. This page, the validation and `--help` use that "
        "declaration.",
        "## Executors, in the user's Airflow",
        f"Options of `[{ECS_SECTION}]`: the amazon provider's names and meaning (`skylift.executors.options.ecs`).",
        _options(ECS_SECTION, ECS_SETTINGS),
        f"Options of `[{BATCH_SECTION}]`: the same, for Batch (`skylift.executors.options.batch`).",
        _options(BATCH_SECTION, BATCH_SETTINGS),
        f"Options of `[{OWN_SECTION}]`: what the amazon provider does not have.",
        _options(OWN_SECTION, OWN_SETTINGS),
        "## Control plane",
        "`skylift.control.settings`.",
        _variables(CONTROL_SETTINGS),
        "Options that the control plane reads in an environment's `AirflowConfigurationOptions`. Airflow does not get "
        "them, and a change of them restarts nothing, except `environment`.",
        _own_options(ENVIRONMENT_OPTIONS),
        "## Local cloud",
        "`skylift up` and `skylift cloud` read these when the server starts (`skylift.localcloud`).",
        _variables((RUNNER, SLOTS, HOST_FOLDERS, MWAA_PATHS, TEMPLATES, IMAGE_PYTHON, IAM_MODE, OTHERS)),
        "## Containers of an environment",
        "The control plane sets these and the runtime reads them (`skylift.core.containers`). Do not set them "
        "yourself.",
        _variables(CONTAINER_SETTINGS),
    )


def executors() -> str:
    """``docs/executors.md``: written by hand up to the mark, then the options."""
    text, mark, _ = (DOCS / "executors.md").read_text().partition(MARK)
    sections = ((ECS_SECTION, ECS_SETTINGS), (BATCH_SECTION, BATCH_SETTINGS))
    tables = (part for section, declared in sections for part in (f"### `[{section}]`", _placed(declared)))
    own = (f"### `[{OWN_SECTION}]`", _options(OWN_SECTION, OWN_SETTINGS))
    heading = "*queue*: you can use the option in an entry of `queues`. *fallback*: and in one of `capacity_fallback`."
    return "\n\n".join((text + mark, "## Options", heading, *tables, *own)) + "\n"


def lifecycles() -> str:
    """``docs/lifecycles.md``."""
    return _page(
        "Lifecycles",
        "Generated from the tables in the code. A move without an arrow here raises `Broken`. States without outgoing "
        "arrows are "
        "final.",
        *(part for file, life in LIVES for part in (f"## {life.name}", f"`{file}`", _diagram(life))),
    )


def operations() -> str:
    """``docs/operations.md``."""
    return _page(
        "Operations that skylift serves itself",
        "For the other services and their emulators see [services.md](services.md). An unsupported operation returns "
        "`NotImplemented` (501); so does one that an emulator does not have.",
        *(part for provider in PROVIDERS for part in _operations(provider)),
    )


def refusals() -> str:
    """``docs/refusals.md``."""
    rows = refusals_of_tests()
    ours = [row for row in rows if OURS in row.text]
    return _page(
        "What AWS refuses, and skylift refuses",
        "Each row is a case of a test: this request gets this error code, and the message has these words. The rules "
        "come from AWS's documentation and from what people have reported; nobody has sent these requests to AWS, and "
        "where AWS's message is not known it is ours. Only what stands in the tests' tables is here: skylift refuses more, above all "
        "what botocore's models forbid (types, required members, lengths, patterns).",
        *(part for service in dict.fromkeys(row.service for row in rows) for part in _refused(service, rows)),
        "## What AWS takes and the local cloud does not",
        "Refused by name, so that nothing is ignored. Services and operations that are not served at all get "
        "`NotImplemented` (501): [services](services.md), [operations](operations.md).",
        _table(("service", "operation", "asked", "code", "message"), (row.cells for row in ours)),
    )


def faults() -> str:
    """``docs/faults.md``."""
    return _page(
        "Faults",
        "`skylift fault set KIND --parameter value`, `skylift fault list`, `skylift fault clear [NAME]`; in tests "
        '`cloud.fault("kind", parameter=value)` (see [localcloud.md](localcloud.md)); over HTTP `GET`, `POST` and '
        "`DELETE` "
        "of `/_skylift/faults`, signed (SigV4) for the service `skylift`. Faults are in memory only: a restart ends "
        "them. "
        "If several faults match a call, all delays come first, then the first refusal in the order in which they were "
        "set.",
        *(part for kind in KINDS.values() for part in _kind(kind)),
        "## AWS's token buckets: presets of `throttle`",
        _table(
            ("preset", "operations", "burst", "per second", "source"),
            (
                (
                    f"`{name}`",
                    f"{preset.service}: {', '.join(sorted(preset.operations)) or 'all'}"
                    + (", by number of ECS tasks" if preset.by_count else ""),
                    f"{preset.burst:g}",
                    f"{preset.rate:g}",
                    preset.source,
                )
                for name, preset in PRESETS.items()
            ),
        ),
    )


def metrics() -> str:
    """``docs/metrics.md``."""
    rows = (
        (f"`{METRICS_PREFIX}{one.name}`", str(one.sort), ", ".join(f"`{tag}`" for tag in one.tags) or "-", one.meaning)
        for one in METRICS
    )
    return _page(
        "Metrics of the executors",
        "The executors report these in addition to what Airflow reports for every executor (`executor.open_slots`, "
        "`executor.queued_tasks`, "
        "`executor.running_tasks`, and `scheduler.executor_heartbeat_duration`). They go where `[metrics]` sends "
        "Airflow's own "
        "(StatsD, Datadog, OpenTelemetry), under its prefix, and through its allow and block lists.",
        "All have the tag `executor` (the class) and, with teams, `team`. Plain StatsD has no tags "
        "(`statsd_influxdb_enabled`, Datadog and OpenTelemetry have them): there, the values of all tags are added "
        "under one "
        "name, "
        "and a gauge shows the executor that reported last. Timers are sent in milliseconds, like "
        "Airflow's.",
        _table(("metric", "sort", "tags", "meaning"), rows),
        "The executor's background thread reports all of them, so they cost the scheduler's loop nothing. Gauges: "
        "every 15 s.",
        "## What to watch",
        "* `skylift.calls` with outcome `throttled`: all users of the account together call AWS too fast. The executor "
        "slows down by "
        "itself (`skylift.launch_rate`); nothing fails.\n"
        "* `skylift.oldest_pending_seconds` near `[scheduler] task_queued_timeout`: Airflow is about to take work "
        "back.\n"
        "* `skylift.drift` above zero: events get lost, or the rule or queue has changed.\n"
        "* `skylift.given_up`: work failed without ever beginning.\n"
        "* `skylift.repeats` with reason `lost`: containers die before they begin, because of the image, the network "
        "or Spot.",
    )


MARK = "<!-- from here on made by docs/generate.py -->"
"""What follows it in a page is generated."""

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings,
    "executors.md": executors,
    "lifecycles.md": lifecycles,
    "services.md": services,
    "operations.md": operations,
    "refusals.md": refusals,
    "faults.md": faults,
    "metrics.md": metrics,
}


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", *parts, "*Generated by `make docs`; edit the code, not this page.*")) + "\n"


def _operations(provider: Any) -> tuple[str, ...]:
    model = ServiceModel(Loader().load_service_model(provider.service, "service-2"), provider.service)
    methods = {name: getattr(provider, xform_name(name), None) for name in model.operation_names}
    served = {name: method for name, method in methods.items() if method is not None}
    refused = [name for name, method in served.items() if _always_refuses(method)]
    rows = ((name, _sentence(method)) for name, method in served.items() if name not in refused)
    always = [f"Always refused, in AWS's words or with advice: {', '.join(refused)}."] if refused else []
    absent = [f"Not supported: {', '.join(sorted(methods.keys() - served.keys()))}."]
    return f"## {provider.service}", _table(("operation", "here"), rows), *always, *absent


def _refused(service: str, rows: Iterable[Refusal]) -> tuple[str, str]:
    found = (row.cells[1:] for row in rows if row.service == service and OURS not in row.text)
    return f"## {service}", _table(("operation", "asked", "code", "message"), found)


def _always_refuses(method: Callable[..., Any]) -> bool:
    """Whether its body ends in a raise and returns nothing before."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
    returns = any(isinstance(node, ast.Return) for node in ast.walk(function))
    return isinstance(function, ast.FunctionDef) and isinstance(function.body[-1], ast.Raise) and not returns


def _sentence(method: Callable[..., Any]) -> str:
    """The first line of its description."""
    return (inspect.getdoc(method) or "").partition("\n")[0].replace("``", "`")


def _kind(kind: FaultKind) -> tuple[str, ...]:
    rows = ((f"`{one.name}`", _default(one), one.meaning) for one in kind.parameters)
    once = " Happens once, immediately." if kind.at_once else ""
    return f"## {kind.name}", kind.meaning + once, _table(("parameter", "default", "meaning"), rows)


def _options(section: str, declared: Iterable[Setting[Any]]) -> str:
    rows = (
        (f"`{one.name}`", f"`AIRFLOW__{section.upper()}__{one.name.upper()}`", _default(one), one.meaning)
        for one in declared
    )
    return _table(("option", "environment variable", "default", "meaning"), rows)


def _placed(declared: Iterable[Setting[Any]]) -> str:
    def where(name: str) -> str:
        return "queue, fallback" if name in FALLBACK_WORDS else "queue" if name in QUEUE_WORDS else ""

    rows = ((f"`{one.name}`", _default(one), where(one.name), one.meaning) for one in declared)
    return _table(("option", "default", "also", "meaning"), rows)


def _own_options(declared: Iterable[Setting[Any]]) -> str:
    rows = ((f"`{OWN_SECTION}.{one.name}`", _default(one), one.meaning) for one in declared)
    return _table(("option", "default", "meaning"), rows)


def _variables(declared: Iterable[Setting[Any]]) -> str:
    return _table(
        ("variable", "default", "meaning"), ((f"`{one.env}`", _default(one), one.meaning) for one in declared)
    )


def _default(one: Setting[Any]) -> str:
    if one.required:
        return "required"
    value = ", ".join(map(str, one.default)) if isinstance(one.default, tuple | list) else one.default
    shown = "" if value is None or value in ("", {}) else f"`{value}`"
    return f"{shown} ({one.parse})" if isinstance(one.parse, WholeNumber) else shown


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(head)
    lines = (heads, tuple("---" for _ in heads), *rows)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _diagram(life: Lifecycle[Any]) -> str:
    arrows = [f"    {before} --> {after}" for before, follow in life.moves.items() for after in sorted(follow)]
    ends = [f"    {state} --> [*]" for state in life.moves if life.is_final(state)]
    first = next(iter(life.moves))
    return "\n".join(("```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *arrows, *ends, "```"))


def main() -> None:
    """Writes all pages."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())
        print(f"docs/{name}")  # noqa: T201


if __name__ == "__main__":
    main()
