"""Converts JSON to the dicts that boto3's users know, and back: compiled once per shape from botocore's model.

Reading checks types and drops what the model does not know (AWS ignores it); ``null`` means an absent member. Writing
drops ``None``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from skylift.wire.compiled import Compiled
from skylift.wire.errors import AwsError

Convert = Callable[[Any], Any]

_LIMITS = {"integer": 1 << 31, "long": 1 << 63}
_WORDS = {str: "STRING_VALUE", bool: "BOOLEAN_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE"}
_WORDS |= {list: "START_ARRAY", dict: "START_OBJECT", type(None): "NULL_VALUE"}


class Readers(Compiled[Convert]):
    """JSON to Python, for one service's shapes. A wrong type raises ``AwsError`` (``SerializationException``)."""

    def _compile(self, shape: Shape) -> Convert:
        if isinstance(shape, StructureShape):
            return _same if shape.is_document_type else self._structure(shape)
        if isinstance(shape, ListShape):
            return self._list(shape)
        if isinstance(shape, MapShape):
            return self._map(shape)
        return _READ[shape.type_name](shape.type_name)

    def _structure(self, shape: StructureShape) -> Convert:
        members = {wire_name(name, member): (name, self.of(member)) for name, member in shape.members.items()}

        def read(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise wrong_type(value, "structure")
            known = ((members[key], inner) for key, inner in value.items() if inner is not None and key in members)
            return {name: reader(inner) for (name, reader), inner in known}

        return read

    def _list(self, shape: ListShape) -> Convert:
        reader = self.of(shape.member)

        def read(value: Any) -> list[Any]:
            if not isinstance(value, list):
                raise wrong_type(value, "list")
            return [reader(inner) for inner in value]

        return read

    def _map(self, shape: MapShape) -> Convert:
        reader = self.of(shape.value)

        def read(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise wrong_type(value, "map")
            return {key: reader(inner) for key, inner in value.items()}

        return read


class NativeReaders(Readers):
    """As ``Readers``, for documents in which blobs and times have types of their own (CBOR)."""

    def _compile(self, shape: Shape) -> Convert:
        if shape.type_name == "blob":
            return _read_native_blob
        return _read_native_time if shape.type_name == "timestamp" else super()._compile(shape)


class Writers(Compiled[Convert]):
    """Python to what ``json.dumps`` takes, for one service's shapes."""

    def _compile(self, shape: Shape) -> Convert:
        if isinstance(shape, StructureShape):
            return _same if shape.is_document_type else self._structure(shape)
        if isinstance(shape, ListShape):
            item = self.of(shape.member)
            return list if item is _same else lambda value: [item(inner) for inner in value]
        if isinstance(shape, MapShape):
            inner = self.of(shape.value)
            return lambda value: {key: inner(one) for key, one in value.items() if one is not None}
        return _WRITE.get(shape.type_name, _same)

    def _structure(self, shape: StructureShape) -> Convert:
        members = {name: (wire_name(name, member), self.of(member)) for name, member in shape.members.items()}

        def write(value: dict[str, Any]) -> dict[str, Any]:
            answer = {}
            for name, inner in value.items():
                if inner is not None and name in members:
                    key, writer = members[name]
                    answer[key] = inner if writer is _same else writer(inner)
            return answer

        return write


def wire_name(name: str, member: Shape) -> str:
    """A member's name on the wire."""
    return str(member.serialization.get("name", name))


def wrong_type(value: Any, wanted: str) -> AwsError:
    """The error for a value of the wrong type; the value itself is not shown, it may be secret."""
    return AwsError("SerializationException", f"{_WORDS.get(type(value), 'VALUE')} cannot be converted to {wanted}")


def parse_timestamp(value: Any) -> datetime:
    """A time from seconds since the epoch or ISO 8601, aware and in UTC. Raises ``AwsError``."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise AwsError("SerializationException", "the value is no time that can be read") from None
    raise wrong_type(value, "timestamp")


def _same(value: Any) -> Any:
    return value


def _read_string(wanted: str) -> Convert:
    def read(value: Any) -> str:
        if isinstance(value, str):
            return value
        raise wrong_type(value, wanted)

    return read


def _read_boolean(wanted: str) -> Convert:
    def read(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        raise wrong_type(value, wanted)

    return read


def _read_whole(wanted: str) -> Convert:
    limit = _LIMITS[wanted]

    def read(value: Any) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not -limit <= value < limit:
            raise wrong_type(value, wanted)
        return int(value)

    return read


def _read_number(wanted: str) -> Convert:
    def read(value: Any) -> float:
        if value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, wanted)
        try:
            return float(value)
        except OverflowError:
            raise wrong_type(value, wanted) from None

    return read


def _read_blob(wanted: str) -> Convert:
    def read(value: Any) -> bytes:
        if not isinstance(value, str):
            raise wrong_type(value, wanted)
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise AwsError("SerializationException", "a blob must be base64") from None

    return read


def _read_native_blob(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    raise wrong_type(value, "blob")


def _read_native_time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else parse_timestamp(value)


def _read_timestamp(_: str) -> Convert:
    return parse_timestamp


_READ: dict[str, Callable[[str], Convert]] = {
    "string": _read_string,
    "character": _read_string,
    "boolean": _read_boolean,
    "integer": _read_whole,
    "long": _read_whole,
    "float": _read_number,
    "double": _read_number,
    "blob": _read_blob,
    "timestamp": _read_timestamp,
}


def _write_timestamp(value: datetime) -> float | int:
    seconds = round(value.timestamp(), 3)
    return int(seconds) if seconds == int(seconds) else seconds


def _write_blob(value: bytes) -> str:
    return base64.b64encode(value).decode()


_WRITE: dict[str, Convert] = {"timestamp": _write_timestamp, "blob": _write_blob}
