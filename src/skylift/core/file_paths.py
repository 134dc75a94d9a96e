"""Which relative paths from others (keys in S3, members of archives) can be files below one of our folders. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

LONGEST_PART = 255
"""Bytes of one part of a path: what Linux's file systems take."""

LONGEST_PATH = 1024
"""Bytes of a whole path: what S3 takes for a key. With the folder's own path it stays far below Linux's 4,096."""

DEEPEST = 100
"""Folders below each other; Python's own tools walk a tree by recursion."""

PLACES: Mapping[str, tuple[str, ...]] = {
    "plugins.zip": ("plugins.zip",),
    "requirements.txt": ("requirements.txt", "requirements/requirements.txt"),
    "startup.sh": ("startup.sh", "startup_script/startup.sh"),
}
"""Where each single file of a project may be (the second: as in aws-mwaa-local-runner); the first that is there
counts."""


def unfit(path: str) -> str:
    """Why ``path`` (parts between ``/``) cannot be a file below a folder; empty if it can.

    The text continues a sentence that begins with the path: ``"a//b" has an empty part``.
    """
    parts = path.split("/")
    if not path:
        return "is empty"
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "has a control character in it"
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "has characters that are not UTF-8"
    if path.startswith("/"):
        return "begins with a slash"
    if path.endswith("/"):
        return "ends with a slash, as a folder does"
    if "" in parts:
        return "has an empty part (two slashes together)"
    if dots := {".", ".."} & set(parts):
        return f"has a part {max(dots, key=len)!r}, which would lead elsewhere"
    if max(sizes) > LONGEST_PART:
        return f"has a part of {max(sizes)} bytes; a file system takes {LONGEST_PART}"
    if (size := sum(sizes) + len(parts) - 1) > LONGEST_PATH:
        return f"has {size} bytes; at most {LONGEST_PATH} can be used"
    if len(parts) > DEEPEST:
        return f"lies {len(parts) - 1} folders deep; at most {DEEPEST - 1} can be used"
    return ""
