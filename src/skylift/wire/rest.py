"""What rest-json puts outside the body: path labels, query strings, headers and the status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from skylift.core.errors import Broken
from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.json_shapes import parse_timestamp, wrong_type

_LABEL = re.compile(r"\{([^}+]+)(\+?)\}")
_SERVED = frozenset({"uri", "querystring", "header", "statusCode"})


class Route:
    """Method and path template of one operation: ``/tags/{ResourceArn}``.

    A label takes one segment of the path as sent, so that a ``/`` inside must come as ``%2F`` (SDKs do so); a greedy
    label (``{Key+}``) takes the rest. AWS's own front ends decode ``%2F`` later, as is done here.
    """

    def __init__(self, operation: OperationModel) -> None:
        self.operation = operation
        self._method = operation.http["method"]
        path = operation.http["requestUri"].partition("?")[0]
        self.specificity = (path.count("/"), -len(_LABEL.findall(path)), len(path))
        """Templates with more segments and fewer labels are tried first."""
        self._names = [name for name, _ in _LABEL.findall(path)]
        literals = [re.escape(text) for text in _LABEL.sub("\0", path).split("\0")]
        labels = ["(.+)" if greedy else "([^/]+)" for _, greedy in _LABEL.findall(path)]
        self._expression = re.compile("".join(a + b for a, b in zip(literals, [*labels, ""], strict=True)))

    def match(self, head: Head) -> Mapping[str, str] | None:
        """The labels, decoded; ``None`` if the request is not for this operation."""
        if head.method != self._method:
            return None
        found = self._expression.fullmatch(head.path)
        return dict(zip(self._names, map(unquote, found.groups()), strict=True)) if found else None


class MemberPlacement:
    """Where the members of one input or output stand."""

    def __init__(self, shape: StructureShape) -> None:
        if "payload" in shape.serialization or "eventstream" in shape.serialization:
            raise Broken(f"{shape.name}: the wire does not serve payload members")
        found = {name: member for name, member in shape.members.items() if "location" in member.serialization}
        strange = {member.serialization["location"] for member in found.values()} - _SERVED
        if strange:
            raise Broken(f"{shape.name}: the wire does not serve members in {', '.join(sorted(strange))}")
        self._members = found
        self.outside = frozenset(found)
        """Members that are not in the body."""
        self.body_is_empty = len(found) == len(shape.members)

    def read(self, labels: Mapping[str, str], head: Head) -> dict[str, Any]:
        """The members outside the body that a request carries. Raises ``AwsError``."""
        query: dict[str, list[str]] = {}
        for name, text in parse_qsl(head.query, keep_blank_values=True):
            query.setdefault(name, []).append(text)
        values: dict[str, Any] = {}
        for name, member in self._members.items():
            word = member.serialization.get("name", name)
            place = member.serialization["location"]
            if place == "uri":
                values[name] = _scalar(member, labels[word])
            elif place == "querystring" and isinstance(member, MapShape):
                values[name] = {key: texts[-1] for key, texts in query.items()}
            elif place == "querystring" and word in query:
                values[name] = _from_texts(member, query[word])
            elif place == "header" and word.lower() in head.headers:
                values[name] = _from_texts(member, [head.headers[word.lower()]])
        return values

    def write(self, output: Mapping[str, Any], status: int) -> tuple[int, dict[str, str]]:
        """Status and headers of an answer."""
        headers = {}
        for name, member in self._members.items():
            if output.get(name) is None:
                continue
            if member.serialization["location"] == "statusCode":
                status = int(output[name])
            else:
                headers[member.serialization.get("name", name)] = str(output[name])
        return status, headers


def _from_texts(member: Shape, texts: list[str]) -> Any:
    if isinstance(member, ListShape):
        return [_scalar(member.member, text) for text in texts]
    return _scalar(member, texts[-1])


def _scalar(member: Shape, text: str) -> Any:
    kind = member.type_name
    try:
        if kind in {"integer", "long"}:
            return int(text)
        if kind in {"float", "double"}:
            return float(text)
    except ValueError:
        raise wrong_type(text, kind) from None
    if kind == "boolean":
        if text not in {"true", "false"}:
            raise AwsError("SerializationException", "STRING_VALUE cannot be converted to boolean")
        return text == "true"
    return parse_timestamp(text) if kind == "timestamp" else text
