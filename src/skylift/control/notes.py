"""What parts leave for people: facts that become events (``skylift env events``). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

NOTES = "note."
"""Facts with this prefix become events when they change: written with the row, so that each is told exactly once."""


def note_fact(part: str) -> str:
    """The fact in which a part leaves what people should know."""
    return f"{NOTES}{part}"


def note(text: str, seconds: float | None = None) -> str:
    """The value of such a fact: what happened, and how long it took."""
    return json.dumps({"text": text, "seconds": seconds})


def of_notes(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, float | None]]:
    """Notes that are new: text and seconds."""
    changed = [after[name] for name in sorted(after) if name.startswith(NOTES) and after[name] != before.get(name)]
    read = [json.loads(one) for one in changed if one]
    return [(str(one["text"]), one["seconds"]) for one in read]
