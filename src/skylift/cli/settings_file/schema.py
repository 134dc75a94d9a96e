"""What ``skylift.toml`` may hold, as a JSON schema: editors complete by it, and our own check reads it, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from skylift.control.api.validation import CLASSES
from skylift.core.names import ENVIRONMENT_NAME

LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "off")
MODULES = {
    "dag-processing": "DagProcessingLogs",
    "scheduler": "SchedulerLogs",
    "task": "TaskLogs",
    "webserver": "WebserverLogs",
    "worker": "WorkerLogs",
}
EXECUTORS = ("ecs", "batch", "celery")
SCALAR = ["string", "integer", "number", "boolean"]
ELSEWHERE = {
    "env": "Name of a variable in .env, or of the shell that types skylift up.",
    "secret": "Name or ARN of a secret in Secrets Manager. It stays there.",
    "key": "With secret: a member of the secret's JSON.",
    "parameter": "Name or ARN of a parameter in SSM. It stays there.",
}
"""Where a value is that does not stand in the file."""


def _elsewhere(meaning: str, *more: Mapping[str, Any]) -> dict[str, Any]:
    reference = {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in ELSEWHERE.items()},
        "additionalProperties": False,
    }
    return {"description": meaning, "anyOf": [reference, *more]}


def _map(meaning: str, names: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": meaning,
        "patternProperties": {f"^(?:{names})$": values},
        "additionalProperties": False,
    }


def _count(meaning: str, least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "description": meaning}


def _counts(meaning: str, least: int, most: int) -> dict[str, Any]:
    return {
        "type": "object",
        "description": meaning,
        "properties": {"min": _count("At least so many.", least, most), "max": _count("At most so many.", 1, most)},
        "additionalProperties": False,
    }


CONNECTION = {
    "type": "object",
    "properties": {
        "conn_type": {"type": "string", "description": "For example postgres, http, aws."},
        "description": {"type": "string", "description": "For people."},
        "host": {"type": "string", "description": "Host name or address."},
        "login": {"type": "string", "description": "User."},
        "password": _elsewhere("The password: better not in this file.", {"type": "string"}),
        "schema": {"type": "string", "description": "Database, or what the type calls its schema."},
        "port": {"type": "integer", "description": "Port."},
        "extra": {"type": "object", "description": "What else the type knows."},
    },
    "required": ["conn_type"],
    "additionalProperties": False,
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "skylift.toml",
    "description": "What skylift up makes of a project: its environment.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {
            "type": "string",
            "pattern": f"^{ENVIRONMENT_NAME.pattern}$",
            "description": "Name of the environment; default: the folder's name.",
        },
        "class": {"enum": [*CLASSES], "description": "Size of the environment; default: mw1.small."},
        "executors": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "Where Airflow tasks run: ecs, batch, celery, or paths of classes. The first is the "
            "default. Without this line: ecs.",
        },
        "schedulers": _count("Number of schedulers.", 1, 5),
        "workers": _counts("Celery workers; min may be 0.", 0, 25),
        "webservers": _counts("Web servers.", 1, 5),
        "maintenance_window": {
            "type": "string",
            "pattern": "^(?:MON|TUE|WED|THU|FRI|SAT|SUN):[0-2][0-9]:[0-5]0$",
            "description": "Start of the weekly maintenance window, in UTC, e.g. SUN:02:00.",
        },
        "snapshots": {
            "type": "object",
            "description": "When snapshots are taken, while skylift runs, and how many are kept.",
            "properties": {
                "hours": _count("Hours between two.", 1, 24 * 366),
                "keep": _count("So many of the newest stay; older ones are deleted.", 1, 1000),
            },
            "required": ["hours", "keep"],
            "additionalProperties": False,
        },
        "role": {"type": "string", "description": "ARN of an execution role of your own; default: skylift makes one."},
        "statements": {
            "type": "array",
            "items": {"type": "object"},
            "description": "Further IAM statements for the role that skylift makes.",
        },
        "options": _map(
            "Airflow's options, as section.key.",
            r"[a-z][a-z0-9_.]*",
            {"anyOf": [{"type": SCALAR}, _map("", r"[a-z][a-z0-9_.]*", {"type": SCALAR})]},
        ),
        "environment": _map(
            "Environment variables of all containers.",
            r"[A-Za-z_][A-Za-z0-9_]*",
            _elsewhere("A value.", {"type": SCALAR}),
        ),
        "connections": _map(
            "Airflow's connections, by id.",
            r"[A-Za-z0-9_]+",
            _elsewhere("A URI, a table, or where one of both is.", {"type": "string"}, CONNECTION),
        ),
        "variables": _map(
            "Airflow's variables, by key. Tables and lists become JSON.",
            r"[A-Za-z0-9_]+",
            _elsewhere("A value.", {"type": [*SCALAR, "array", "object"]}),
        ),
        "pools": _map("Airflow's pools: slots by name.", r"\S(?:.*\S)?", _count("Slots.", -1, 1_000_000)),
        "logs": {
            "type": "object",
            "description": "Log levels by module.",
            "properties": {
                name: {"enum": list(LEVELS), "description": f"{module}; off: not kept."}
                for name, module in MODULES.items()
            },
            "additionalProperties": False,
        },
    },
}


def mistakes(value: Any, schema: Mapping[str, Any] = SCHEMA, path: str = "") -> Iterator[str]:
    """What in a value the schema does not allow, a sentence each; values are not told, as they may be secrets."""
    if "anyOf" in schema:
        tries = [list(mistakes(value, one, path)) for one in schema["anyOf"]]
        if all(tries):
            yield from min(tries, key=_distance)
        return
    if "enum" in schema:
        if value not in schema["enum"]:
            yield f"{path} must be one of {', '.join(map(str, schema['enum']))}"
        return
    kinds = schema.get("type", [])
    if kinds and not any(_matches(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        shown = kinds if isinstance(kinds, str) else ", ".join(kinds)
        yield f"{path} must be a {_WORDS.get(shown, shown)}"
        return
    if isinstance(value, dict):
        yield from _members(value, schema, path)
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{path} must not be empty"
        for number, one in enumerate(value):
            yield from mistakes(one, schema.get("items", {}), f"{path}[{number}]")
    elif isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path} has another form: {schema.get('description', schema['pattern'])}"
    elif isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high:
            yield f"{path} must be from {low} to {high}"


_WORDS = {"object": "table", "array": "list", "integer": "whole number", "string": "text"}


def _distance(told: list[str]) -> tuple[bool, int, int]:
    """How far a value is from what it was probably meant to be."""
    return any(" must be a " in one for one in told), sum("is not known" in one for one in told), len(told)


def _matches(value: Any, kind: str) -> bool:
    if kind in {"integer", "number"} and isinstance(value, bool):
        return False
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}
    return isinstance(value, types[kind])  # type: ignore[arg-type]


def _members(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path} needs {name}"
    for name, one in value.items():
        where = f"{path}.{name}" if path else name
        fitting = known.get(name) or next((found for text, found in patterns.items() if re.search(text, name)), None)
        if fitting is not None:
            yield from mistakes(one, fitting, where)
        elif schema.get("additionalProperties") is False and patterns:
            yield f"{where}: the name has characters that are not allowed here"
        elif schema.get("additionalProperties") is False:
            yield f"{where} is not known; known here: {', '.join(known)}"
