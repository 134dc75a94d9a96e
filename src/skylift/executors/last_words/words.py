"""Composes the text about a container that died without telling Airflow: pure functions from facts to text.

The reason of an end has several lines: first the compute's own line, then what we found out (memory limit, links),
then, after ``LAST_LINES``, what the container printed last. ``short`` is the part that fits into an event's info.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from skylift.core.partitions import BY_NAME

LAST_LINES = "Last lines of the container's log"
"""How the part with the lines begins."""

MOST_CHARACTERS = 500
"""Of one line: a log is for reading, and the database keeps it."""

MOST_SHORT = 1000
"""Characters of an event's info: it ends in the error of a log line, of an e-mail, of a callback."""

TOKEN = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
"""A JWT: Airflow's tokens are such."""


@dataclass(frozen=True)
class Limit:
    """A memory limit in MiB, and what it limits, in words."""

    mib: int
    whose: str


def memory_words(reason: str, code: int | None, limit: Limit | None, *, stopped: bool = False) -> str:
    """What to say about memory; "" if memory was not the cause.

    Args:
        reason: the container's reason from ECS or Batch. Both say ``OutOfMemoryError: ...``.
        code: its exit code.
        stopped: somebody or something stopped it, and may have killed it in the end.
    """
    size = f"{limit.mib} MiB ({limit.whose})" if limit else "a size that is not known"
    if "OutOfMemory" in reason:
        return f"Killed for memory: the container went over its memory limit of {size}."
    if code == 137 and not stopped:
        return f"Killed with SIGKILL. If it was for memory: its memory limit was {size}."
    return ""


def lines_words(lines: Sequence[str], where: str) -> str:
    """The part with the lines; ``where`` says which log."""
    if not lines:
        return f"The container printed nothing ({where})."
    # Airflow's UI folds the text between such marks, and these belong to another log.
    shown = [readable(line) for line in lines if "::group::" not in line and "::endgroup::" not in line]
    return "\n".join([f"{LAST_LINES} ({where}):", *shown])


def unread_words(why: str) -> str:
    """Replaces the lines: one line that says why there are none."""
    return f"{LAST_LINES} cannot be shown: {_cut(' '.join(why.split()))}"


def short(reason: str) -> str:
    """The reason in one line, without what the container printed."""
    facts = (line.strip().rstrip(".") for line in reason.partition(f"\n{LAST_LINES}")[0].splitlines())
    text = "; ".join(filter(None, facts))
    return text if len(text) <= MOST_SHORT else text[: MOST_SHORT - 1] + "…"


def readable(line: str) -> str:
    """One line of a container's log for people: turns Airflow's JSON lines into time, level and text, and removes
    tokens."""
    try:
        entry = json.loads(line) if line.startswith("{") else None
    except ValueError:
        entry = None
    text = _entry(entry) if isinstance(entry, dict) and "event" in entry else line
    return _cut(TOKEN.sub("***", text))


def console_link(arn: str, path: str) -> str:
    """An address in the AWS console of the ARN's partition and region; "" if that has no public console.

    Args:
        arn: determines partition and region.
        path: after the host; ``{region}`` in it is replaced.
    """
    _, partition, _, region, *_ = [*arn.split(":"), "", "", "", ""]
    host = BY_NAME[partition].console if partition in BY_NAME else ""
    return f"https://{host}{path}".replace("{region}", region) if host and region else ""


def ecs_link(arn: str, cluster: str) -> str:
    """The ECS task in the AWS console."""
    task = quote_plus(arn.rpartition("/")[2])
    return console_link(arn, f"/ecs/v2/clusters/{quote_plus(cluster)}/tasks/{task}/configuration?region={{region}}")


def batch_link(arn: str) -> str:
    """The Batch job of this ARN (``arn:aws:batch:REGION:ACCOUNT:job/ID``) in the AWS console."""
    return console_link(arn, f"/batch/home?region={{region}}#jobs/detail/{quote_plus(arn.rpartition('/')[2])}")


def log_link(arn: str, region: str, group: str, stream: str) -> str:
    """A log stream in the AWS console; ``arn`` of anything in the same partition."""
    parts = arn.split(":")
    here = ":".join([*parts[:3], region or (parts[3] if len(parts) > 3 else "")])
    path = f"/cloudwatch/home?region={{region}}#logsV2:log-groups/log-group/{_twice(group)}/log-events/{_twice(stream)}"
    return console_link(here, path)


def _twice(text: str) -> str:
    # The console's own router decodes once more, with $ instead of %.
    return quote_plus(quote_plus(text)).replace("%", "$")


def _entry(entry: dict[str, Any]) -> str:
    when = str(entry.get("timestamp", ""))[11:19]
    words = [when, str(entry.get("level", "")), str(entry["event"])]
    for error in entry.get("error_detail") or []:
        if isinstance(error, dict):
            words.append(f"{error.get('exc_type', '')}: {error.get('exc_value', '')}")
    return " ".join(filter(None, words)).replace("\n", " ")


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
