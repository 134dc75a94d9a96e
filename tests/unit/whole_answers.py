"""Whole answers, kept as files: what a provider says to a fixed story, with names that are made anew each time replaced
by their number in order of appearance."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FRESH = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}(-[0-9]{10})?|ecs-svc/[0-9]{19}(?![0-9])|eni-[0-9a-f]{17}"
    r"|0a(:[0-9a-f]{2}){5}"
)
ADDRESS = re.compile(r"(ip-)?127[.-][0-9]+[.-][0-9]+[.-][0-9]+")


class Story(dict[str, Any]):
    """Answers by what was asked, each as it was at that moment."""

    def __setitem__(self, asked: str, answer: Any) -> None:
        super().__setitem__(asked, _plain(answer))


def compared(story: dict[str, Any], file: Path) -> None:
    """The story's answers are those of the file. To change it, read the difference, then delete the file and run the
    test once more."""
    told = json.dumps(_plain(story), indent=1, sort_keys=True, ensure_ascii=False, default=str)
    known: dict[str, str] = {}
    for pattern, word in ((FRESH, "id"), (ADDRESS, "address")):
        told = pattern.sub(lambda found, word=word: known.setdefault(found[0], f"<{word} {len(known)}>"), told)  # type: ignore[misc]
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{told}\n")
        raise AssertionError(f"{file} was written: read it")
    assert told.splitlines() == file.read_text().splitlines()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
