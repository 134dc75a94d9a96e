"""Files of environment variables in S3: which of them ECS accepts, and what their lines mean. Pure.

Sources: "Pass environment variables to an Amazon ECS container" (developer guide), ContainerOverride (API reference),
and the ECS agent's source for lines that do not fit. AWS's texts of these refusals are not documented.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from skylift.localcloud.ports import Document

MOST_FILES = 10
_OBJECT = re.compile(r"arn:aws[a-z-]*:s3:::([^/]+)/(.+)")


def wrong_files(files: Iterable[Mapping[str, Any]]) -> str:
    """What is wrong with ``environmentFiles``, or nothing."""
    files = list(files)
    if len(files) > MOST_FILES:
        return f"A container can have at most {MOST_FILES} environment files."
    for file in files:
        value = str(file.get("value", ""))
        if not _OBJECT.fullmatch(value):
            return f"The environment file {value} must be the ARN of an object in S3."
        if not value.endswith(".env"):
            return f"The environment file {value} must have the file extension .env."
    return ""


def files_of(definition: Document, override: Document) -> list[str]:
    """The ARNs that a container reads; those of an override replace those of the definition."""
    files = override.get("environmentFiles") or definition.get("environmentFiles") or ()
    return [str(file["value"]) for file in files]


def place_of(value: str) -> tuple[str, str]:
    """Bucket and key of a file's ARN (one that ``wrong_files`` accepts)."""
    found = _OBJECT.fullmatch(value)
    assert found is not None
    return found[1], found[2]


def variables_of(text: str) -> dict[str, str]:
    """The variables of one file; the last line of a name wins.

    Like ECS's agent, leaves out comments and lines without a name, a ``=`` or a value. Quotation marks and spaces
    belong to the value.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n") if not line.startswith("#")]
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, _, value in pairs if name and value}


def merged(files: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The variables of several files: the first that has a name decides."""
    found: dict[str, str] = {}
    for variables in files:
        found = {**variables, **found}
    return found
