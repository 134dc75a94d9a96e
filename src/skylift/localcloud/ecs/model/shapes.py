"""ARNs, references and times in ECS's format: between stored documents and the wire."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from skylift.core.names import arn
from skylift.core.numbers import natural
from skylift.localcloud.ports import CloudContext, Document
from skylift.wire.errors import AwsError

T = TypeVar("T")
_TIMES = frozenset(
    {
        "connectivityAt",
        "createdAt",
        "deregisteredAt",
        "executionStoppedAt",
        "expirationDate",
        "pullStartedAt",
        "pullStoppedAt",
        "registeredAt",
        "startedAt",
        "stoppedAt",
        "stoppingAt",
        "updatedAt",
    }
)


def shown(document: Mapping[str, Any], *without: str) -> Document:
    """The document as boto3's users see it: times as ``datetime`` (UTC), without the named members."""
    return {key: _shown(key, value) for key, value in document.items() if key not in without}


def _shown(key: str, value: Any) -> Any:
    if key in _TIMES and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if key in {"deployments", "events"}:
        return [shown(item) for item in value]
    return value


def ecs_arn(cloud: CloudContext, kind: str, *names: str) -> str:
    """``arn:aws:ecs:region:account:kind/name/...``."""
    return arn("ecs", cloud.region, cloud.account, "/".join((kind, *names)))


def last_word(reference: str) -> str:
    """The name at the end of an ARN or a plain name: ``.../cluster/a`` and ``a`` are both ``a``."""
    return reference.rsplit("/", 1)[-1]


def new_id() -> str:
    """Thirty-two hex digits, like the ids of ECS's tasks and containers."""
    return secrets.token_hex(16)


def digest(value: Any) -> str:
    """A digest of any JSON-like value, to tell whether two requests are the same."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def page(items: Iterable[T], request: Mapping[str, Any], most: int = 100) -> tuple[list[T], dict[str, str]]:
    """One page of ``items`` and, if more follow, ``{"nextToken": ...}`` to merge into the answer.

    Raises:
        AwsError: ``InvalidParameterException`` for a token that is not ours.
    """
    everything = list(items)
    start = natural(request.get("nextToken") or "0")
    if start is None or start > len(everything):
        raise invalid("Invalid token.")
    size = min(request.get("maxResults") or most, most)
    end = start + size
    return everything[start:end], ({"nextToken": str(end)} if end < len(everything) else {})


def invalid(message: str) -> AwsError:
    """``InvalidParameterException``."""
    return AwsError("InvalidParameterException", message)


def client_error(message: str) -> AwsError:
    """``ClientException``."""
    return AwsError("ClientException", message)


def merged_tags(present: Iterable[Mapping[str, str]], added: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Tags, where later ones replace earlier ones with the same key; at most 50 may remain
    (``InvalidParameterException``)."""
    added = list(added)
    tags = {tag["key"]: tag.get("value", "") for tag in (*present, *added)}
    if len(tags) > 50:
        raise invalid("The maximum number of tags per resource is 50.")
    if any(tag["key"].lower().startswith("aws:") for tag in added):
        raise invalid("aws: prefixed tag key names are not allowed for external use.")
    return [{"key": key, "value": value} for key, value in tags.items()]
