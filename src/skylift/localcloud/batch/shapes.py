"""Batch's ARNs, references, times and errors: between records and the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from skylift.core.names import arn
from skylift.core.numbers import natural
from skylift.localcloud.ports import CloudContext, Document
from skylift.wire.errors import AwsError

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""Names of compute environments, queues, job definitions and jobs (API reference: 128 letters, digits, ``-``,
``_``)."""
MOST_TAGS = 50


def batch_arn(cloud: CloudContext, kind: str, name: str) -> str:
    """``arn:aws:batch:region:account:kind/name``."""
    return arn("batch", cloud.region, cloud.account, f"{kind}/{name}")


def name_of(reference: str) -> str:
    """The name at the end of an ARN, or a plain name: ``...:job-queue/a`` and ``a`` are both ``a``."""
    return reference.rsplit("/", 1)[-1]


def milliseconds(seconds: float) -> int:
    """Batch shows times as whole milliseconds since the epoch."""
    return round(seconds * 1000)


def refused(message: str) -> AwsError:
    """``ClientException``: the caller must change something."""
    return AwsError("ClientException", message)


def executing(message: str) -> AwsError:
    """``ClientException`` as Batch's scheduler words it."""
    return refused(f"Error executing request, Exception : {message}")


def page(items: Sequence[T], request: Mapping[str, Any], most: int = 100) -> tuple[list[T], dict[str, str]]:
    """One page of ``items`` and, if more follow, ``{"nextToken": ...}``. The token is a position.

    Raises:
        AwsError: ``ClientException`` for a token that is not ours, or a page size that is not 1 to ``most``.
    """
    size = page_size(request, most)
    start = position(request)
    end = start + size
    return list(items[start:end]), ({"nextToken": str(end)} if end < len(items) else {})


def page_size(request: Mapping[str, Any], most: int = 100) -> int:
    """``maxResults``; ``most`` if it is missing. Raises ``ClientException`` if it is out of range."""
    size = request.get("maxResults", most)
    if not 1 <= size <= most:
        raise refused(f"maxResults must be between 1 and {most}")
    return int(size)


def position(request: Mapping[str, Any]) -> int:
    """The number in ``nextToken``; 0 without one. Raises ``ClientException`` if it is not ours."""
    begin = natural(request.get("nextToken") or "0")
    if begin is None:
        raise refused("Invalid nextToken")
    return begin


def merged_tags(present: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Tags with the added ones on top. Raises ``ClientException``: more than 50, or names that begin with ``aws:``."""
    tags = {**present, **added}
    if len(tags) > MOST_TAGS:
        raise refused(f"The maximum number of tags is {MOST_TAGS}.")
    if any(key.lower().startswith("aws:") for key in added):
        raise refused("Tag keys that begin with aws: are reserved.")
    return tags


def without(document: Document, names: Iterable[str]) -> Document:
    """A copy without some members."""
    left_out = frozenset(names)
    return {key: value for key, value in document.items() if key not in left_out}
