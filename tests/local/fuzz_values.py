"""What a caller could send instead of what an operation wants: lawful inputs from botocore's models, and ways to spoil
them."""

from __future__ import annotations

import datetime
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

DEEPEST = 4
"""Levels of optional members that are filled in."""
CANDIDATES = (
    "name",
    "arn:aws:iam::000000000000:role/name",
    "000000000000",
    "0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a",
    "id-0a0a0a0a0a0a0a0a0",
    "Name1",
    "/name",
    "a" * 32,
    "1",
    "us-east-1",
    "{}",
    "name@example.com",
    "s3://bucket/key",
    "10.0.0.0/16",
    "2026-01-01T00:00:00Z",
)


def lawful(shape: Shape, hints: Mapping[str, Any], name: str = "", *, optional: bool = True, depth: int = 0) -> Any:
    """A value that the model takes, as a botocore caller would give it.

    Args:
        shape: of the value.
        hints: values by member's name in lower case, e.g. of things that exist.
        name: the member's.
        optional: fill in optional members too.
        depth: how deep we are.
    """
    if name.lower() in hints and not isinstance(shape, StructureShape | MapShape):
        hint = hints[name.lower()]
        return [hint] if isinstance(shape, ListShape) and not isinstance(hint, list) else hint
    if isinstance(shape, StructureShape):
        return _structure(shape, hints, optional=optional, depth=depth)
    if isinstance(shape, ListShape):
        return [lawful(shape.member, hints, name, optional=optional, depth=depth + 1)]
    if isinstance(shape, MapShape):
        key = lawful(shape.key, {}, depth=depth + 1)
        return {key: lawful(shape.value, hints, name, optional=optional, depth=depth + 1)}
    return _scalar(shape)


def _structure(shape: StructureShape, hints: Mapping[str, Any], *, optional: bool, depth: int) -> dict[str, Any]:
    wanted = set(shape.required_members)
    if optional and depth < DEEPEST:
        wanted |= set(shape.members)
    if getattr(shape, "is_tagged_union", False):
        wanted = set(list(shape.members)[:1])
    if depth > 2 * DEEPEST:  # a shape that contains itself
        return {}
    return {
        name: lawful(member, hints, name, optional=optional, depth=depth + 1)
        for name, member in shape.members.items()
        if name in wanted and not member.serialization.get("eventstream")
    }


def _scalar(shape: Shape) -> Any:
    kind, least = shape.type_name, shape.metadata.get("min")
    if kind == "string":
        return _text(shape)
    if kind == "blob":
        return b"blob" * (1 + int(least or 1) // 4)
    if kind == "timestamp":
        return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    if kind == "boolean":
        return True
    number = max(1, int(least or 1))
    return float(number) if kind in {"float", "double"} else number


def _text(shape: Shape) -> str:
    if words := getattr(shape, "enum", None):
        return str(words[0])
    least, most = int(shape.metadata.get("min") or 0), int(shape.metadata.get("max") or 1 << 30)
    try:
        pattern = re.compile(shape.metadata.get("pattern") or ".*", re.DOTALL)
    except re.error:
        return CANDIDATES[0]
    fits = (text for text in CANDIDATES if least <= len(text) <= most and pattern.fullmatch(text))
    return next(fits, ("name" * (1 + least // 4))[: max(4, least)])


DEEP: Any = json.loads("[" * 200 + "]" * 200)
VALUES: tuple[Any, ...] = (
    None,
    "",
    {},
    [],
    [{}],
    [None],
    [[]],
    {"a": None},
    {"": ""},
    True,
    0,
    -1,
    1 << 31,
    1 << 63,
    -(10**300),
    1.5,
    1e308,
    "x" * 70_000,
    "\x00",
    "\ud800",
    "\u202e\u0000😀",
    "../../etc/passwd",
    "svc",
    "-1",
    "9" * 5000,
    "NaN",
    "%00",
    "{",
    "<a>&",
    "arn:aws:::",
    DEEP,
    ["x"] * 1000,
)
"""In the place of anything."""
DROPPED = object()
FEW: tuple[Any, ...] = (
    None,
    "",
    "svc",
    "-1",
    "9" * 5000,
    "\x00",
    "\ud800",
    {},
    [],
    [{}],
    [None],
    {"a": None},
    True,
    0,
    -1,
    1 << 31,
    1.5,
    1e308,
    "x" * 70_000,
    DEEP,
)
"""In each place of requests to our own services."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything inside a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*path, key)
        yield from places(inner, (*path, key))


def spoilt(value: Any, random: Random) -> Any:
    """A document with something else, or nothing, somewhere in it."""
    paths = list(places(value))
    if not paths:
        return random.choice(VALUES)
    path = random.choice(paths)
    return changed(value, path, DROPPED if random.random() < 0.25 else random.choice(VALUES))


def changed(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """A copy with another value at a path."""
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    new = changed(copy[path[0]], path[1:], by)
    if new is DROPPED:
        del copy[path[0]]
    else:
        copy[path[0]] = new
    return copy


TEXTS = ("abc", "1e400", "true", *(value for value in VALUES if isinstance(value, str) and value != "\ud800"))
"""In the place of a text."""
BODIES: tuple[bytes, ...] = (
    b"",
    b"[]",
    b"null",
    b'"text"',
    b"1",
    b"{",
    b'{"a":',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"<a>" * 50_000,
    b"<a",
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>',
    b"<x xmlns='urn:y'><a/></x>",
    b"Action",
    b"Action=&Version=",
    b"Action=%FF%FE&" + b"a.b" * 20_000 + b"=1",
    b"\x9b" + b"\xff" * 9,
    b"\xbf" * 5000,
    b"\xa1aa\xa1" * 100,
    b"9" * 10_000,
    b'{"a":1e999999,"b":NaN}',
)
"""In the place of a body."""
TYPES = (
    "",
    "text/plain",
    "application/xml",
    "application/json",
    "application/cbor",
    "application/x-www-form-urlencoded",
    "application/x-amz-json-1.1",
    "application/json; charset=utf-16",
    "multipart/form-data; boundary=",
    "a" * 2000,
)


def cbor(value: Any) -> bytes:
    """A document in CBOR."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return _cbor_int(value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return _cbor_head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return _cbor_head(3, len(raw)) + raw
    if isinstance(value, datetime.datetime):
        return b"\xc1" + cbor(value.timestamp())
    if isinstance(value, dict):
        return _cbor_head(5, len(value)) + b"".join(cbor(key) + cbor(inner) for key, inner in value.items())
    return _cbor_head(4, len(value)) + b"".join(map(cbor, value))


def _cbor_int(value: int) -> bytes:
    if abs(value) >= 1 << 63:
        return b"\xfb" + struct.pack(">d", float(value))
    return _cbor_head(0, value) if value >= 0 else _cbor_head(1, -1 - value)


def _cbor_head(kind: int, length: int) -> bytes:
    if length < 24:
        return bytes([kind << 5 | length])
    return bytes([kind << 5 | 27]) + struct.pack(">Q", length)


Spoil = Callable[[Any, Random], Any]
