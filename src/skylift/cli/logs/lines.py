"""Formats one line of Airflow's logs for people. Airflow writes the logs of its tasks as JSON, one object per line,
tracebacks included.

Pure, except that the source lines of a traceback are read from the files that it names.
"""

from __future__ import annotations

import json
import linecache
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CONTEXT = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "logger",
        "filename",
        "lineno",
        "error_detail",
        "exception",
        "dag_id",
        "run_id",
        "task_id",
        "map_index",
        "try_number",
        "ti_id",
        "ti",
        "bundle_version",
    }
)
"""Members that repeat what the reader asked for, and those that are shown in another form."""

GROUP, END_OF_GROUP = "::group::", "::endgroup::"
LONGEST_VALUE = 200
MIRROR = re.compile(r"[^\s\"'()\[\]]*/dag_bundles/dags/dags(?=/)")
"""Where a container keeps its copy of an environment's ``dags/`` (``runtime.bundle``)."""

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z ")
"""How the lines of Airflow's components begin; CloudWatch has the time, too."""

Rename = Callable[[str], str]
"""Replaces paths in containers with the user's own."""


def of_project(folder: Path | None) -> Rename:
    """Names a project's files with the user's paths; without a project, with their keys in the bucket."""
    place = "dags" if folder is None else str(folder / "dags")
    return lambda text: MIRROR.sub(lambda _: place, text) if "/dag_bundles/" in text else text


def readable(message: str, rename: Rename = str) -> str | None:
    """A message as text, several lines if it has a traceback; ``None`` for a message that only ends a group.

    A line that is not Airflow's JSON stays unchanged.
    """
    record = _record(message)
    if record is None:
        return rename(STAMP.sub("", message.rstrip()))
    text = str(record.get("event", ""))
    if text == END_OF_GROUP:
        return None
    if text.startswith(GROUP):
        return f"--- {text.removeprefix(GROUP)}"
    level = str(record.get("level", "")).upper()
    values = [f"{name}={_short(value)}" for name, value in record.items() if name not in CONTEXT]
    first = " ".join(part for part in (f"{level:<8}".rstrip() if level else "", text, *values) if part)
    lines = [first, *traceback_lines(record.get("error_detail") or (), rename)]
    if isinstance(record.get("exception"), str):
        lines += str(record["exception"]).rstrip().splitlines()
    return rename("\n".join(lines))


def reason(messages: Sequence[str]) -> str:
    """Why an Airflow task failed, in one line: its last exception, otherwise its last error message, otherwise
    empty."""
    fallback = ""
    for message in reversed(messages):
        record = _record(message) or {}
        detail = record.get("error_detail")
        if detail:
            return _first_line(_exception(detail[0]))
        if str(record.get("level", "")).lower() in {"error", "critical"} and not fallback:
            fallback = _first_line(str(record.get("event", "")))
    return fallback


def when(milliseconds: int) -> str:
    """A time in the format of the logs (UTC)."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def traceback_lines(detail: Sequence[Mapping[str, Any]], rename: Rename = str, indent: str = "") -> list[str]:
    """Airflow's ``error_detail`` in the form of a Python traceback: the first cause on top, the raised exception
    last."""
    lines: list[str] = []
    for number, one in reversed(list(enumerate(detail))):
        if one.get("frames"):
            lines.append("Traceback (most recent call last):")
        for frame in one.get("frames") or ():
            file = rename(str(frame["filename"]))
            lines.append(f'  File "{file}", line {frame["lineno"]}, in {frame["name"]}')
            source = linecache.getline(file, int(frame["lineno"])).strip()
            lines += [f"    {source}"] if source else []
        lines += _syntax(one.get("syntax_error"))
        lines += _exception(one).splitlines() or [""]
        lines += [str(note) for note in one.get("exc_notes") or ()]
        for inner in one.get("exceptions") or ():
            lines += traceback_lines(inner, rename, indent="  | ")
        if number:
            direct = "The above exception was the direct cause of the following exception:"
            other = "During handling of the above exception, another exception occurred:"
            lines += ["", direct if one.get("is_cause") else other, ""]
    return [indent + line for line in lines]


def _syntax(error: Mapping[str, Any] | None) -> list[str]:
    if not error:
        return []
    line = str(error.get("line", "")).rstrip()
    return [f'  File "{error.get("filename")}", line {error.get("lineno")}', f"    {line.strip()}"]


def _exception(one: Mapping[str, Any]) -> str:
    value = str(one.get("exc_value", ""))
    return f"{one.get('exc_type', 'Exception')}{': ' if value else ''}{value}"


def _record(message: str) -> dict[str, Any] | None:
    if not message.startswith("{"):
        return None
    try:
        found = json.loads(message)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
