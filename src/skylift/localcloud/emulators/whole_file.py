"""The file with a service's whole state: ministack's own format, plus a digest, so that damage is noticed on reading.

``{"__ministack_format__": 2, "journal": 7, "digest": "...", "payload": ...}``; ``journal`` only when a journal
continues it. ministack can read such a file. Files without a digest (from an older skylift) can be read here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skylift.localcloud.damage import damaged

FORMAT = "__ministack_format__"
_HEAD_BYTES = 200
_HEAD = re.compile(
    rb'\{"__ministack_format__": \d+(?:, "journal": (?P<journal>\d+))?, "digest": "(?P<digest>[0-9a-f]{32})", '
    rb'"payload": '
)
_JOURNAL = re.compile(rb'"journal": (\d+)')


def digest_of(payload: bytes) -> str:
    """The digest in the file that verifies its payload."""
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


def whole(version: int, payload: bytes, journal: int | None = None) -> bytes:
    """The file's content."""
    head = {FORMAT: version, **({"journal": journal} if journal is not None else {}), "digest": digest_of(payload)}
    return json.dumps(head)[:-1].encode() + b', "payload": ' + payload + b"}"


def read_whole(path: Path, version: int, hook: Callable[[dict[str, Any]], Any], holds: str, without: str) -> Any:
    """The payload.

    Args:
        version: the newest that can be read.
        hook: ministack's ``object_hook``.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: its content has changed, or a newer skylift wrote it.
    """
    content = path.read_bytes()
    why = _wrong(content)
    found: Any = None
    if not why:
        try:
            found = json.loads(content, object_hook=hook)
        except ValueError as error:
            why = f"it is not JSON: {error}"
    if not why and not isinstance(found, Mapping):
        why = "it is not a JSON object"
    if not why and FORMAT in found:
        why = _unusable(found, version)
        found = found.get("payload")
    elif not why and not found:
        why = "it holds nothing"
    if why:
        raise damaged(path, why, holds, without)
    return found


def journal_number(path: Path) -> int:
    """The number of the journal that continues a whole file; 0 if there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as stream:
        match = _JOURNAL.search(stream.read(_HEAD_BYTES))
    return int(match[1]) if match else 0


def _wrong(content: bytes) -> str:
    if not content.strip():
        return "it is empty"
    head = _HEAD.match(content)
    if head is None:
        return ""
    if not content.endswith(b"}"):
        return "its end is missing"
    payload = content[head.end() : -1]
    return "" if digest_of(payload) == head["digest"].decode() else "it is not what skylift wrote: its digest differs"


def _unusable(found: Mapping[str, Any], version: int) -> str:
    said = found[FORMAT]
    if not isinstance(said, int):
        return "its format is no number"
    if said > version:
        return f"it is of a newer skylift: its format is {said}, this one reads up to {version}"
    payload = found.get("payload")
    return "" if isinstance(payload, Mapping) else "its payload is no object"
