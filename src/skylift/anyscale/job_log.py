"""Follows a job's log: asks for what is new, remembers where it was, and never prints without end."""

from __future__ import annotations

import asyncio
import json
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.client import MOST_LOG_BYTES, AnyscaleClient
from skylift.anyscale.refusals import records, required

MOST_LINES = 10_000
"""Of one job in an Airflow task's log; the rest is on the job's page."""
_MOST_CHARACTERS = 4_000
_PAGE = 1000
_SMALL_BYTES = 64 * 1024
_GZIP, _OF_GZIP = b"\x1f\x8b", 31


@dataclass(frozen=True)
class LogCursor:
    """How far a job's log was read. The last piece may still grow, so it counts by its lines.

    Attributes:
        run: the job run; a job that is tried again has a new one.
        token: of the last page.
        pieces: of that page that were read to their end.
        lines: that were read of the piece after them.
        printed: lines in all.
    """

    run: str = ""
    token: str = ""
    pieces: int = 0
    lines: int = 0
    printed: int = 0


@dataclass
class _Reading:
    cursor: LogCursor
    found: list[str] = field(default_factory=list)

    def add(self, lines: list[str]) -> None:
        room = MOST_LINES - self.cursor.printed
        if room > 0:
            self.found += lines[:room]
        if 0 < room < len(lines):
            self.found.append(f"(more than {MOST_LINES} lines: the rest is on the job's page)")
        self.cursor = replace(self.cursor, printed=self.cursor.printed + len(lines))


async def new_lines(client: AnyscaleClient, run: str, cursor: LogCursor) -> tuple[list[str], LogCursor]:
    """Lines that came since the cursor, and the next cursor. Raises ``AnyscaleRefused`` or ``AnyscaleUnavailable``.

    Args:
        run: the job's last run; empty: there is none yet, and so no log.
    """
    if not run or cursor.printed >= MOST_LINES:
        return [], cursor
    begins_again = bool(cursor.run) and cursor.run != run
    if cursor.run != run:
        cursor = LogCursor(run=run, printed=cursor.printed)
    reading = _Reading(cursor, [f"(job run {run}: Anyscale tries again)"] if begins_again else [])
    while True:
        token = reading.cursor.token
        doing = f"the question for the log of job run {run}"
        page = await client.get(wire.job_logs(run), doing, page_size=_PAGE, next_page_token=token or None)
        await _read_page(client, page, reading)
        following = page.get("next_page_token")
        if not following or following == token or reading.cursor.printed >= MOST_LINES:
            return reading.found, reading.cursor
        reading.cursor = replace(reading.cursor, token=following, pieces=0, lines=0)


async def _read_page(client: AnyscaleClient, page: dict[str, Any], reading: _Reading) -> None:
    doing = f"the question for the log of job run {reading.cursor.run}"
    pieces = records(required(page, "log_chunks", doing), doing)
    bearer = page.get("bearer_token") or ""
    for number, piece in enumerate(pieces):
        if number < reading.cursor.pieces:
            continue
        content = await client.fetch(str(required(piece, "chunk_url", doing)), bearer)
        # The triggerer's event loop must not wait for a large piece.
        lines = await asyncio.to_thread(_lines, content) if len(content) > _SMALL_BYTES else _lines(content)
        reading.add(lines[reading.cursor.lines :])
        if number < len(pieces) - 1:
            reading.cursor = replace(reading.cursor, pieces=number + 1, lines=0)
        else:
            reading.cursor = replace(reading.cursor, pieces=number, lines=len(lines))
        if reading.cursor.printed >= MOST_LINES:
            return


def _lines(content: bytes) -> list[str]:
    if content.startswith(_GZIP):
        try:
            # Not all at once: a piece may be cut off, or be much longer than it looks.
            content = zlib.decompressobj(wbits=_OF_GZIP).decompress(content, MOST_LOG_BYTES)
        except zlib.error:
            return ["(a piece of this log cannot be unpacked)"]
    return [_flat(line)[:_MOST_CHARACTERS] for line in content.decode(errors="replace").splitlines()]


def _flat(line: str) -> str:
    """The message of a structured line."""
    if line.startswith("{"):
        try:
            found = json.loads(line)
        except ValueError:
            return line
        if isinstance(found, dict) and isinstance(found.get("message"), str):
            return str(found["message"])
    return line
