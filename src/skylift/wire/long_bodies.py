"""Reads a long JSON body straight into a shape's members, in one pass in C (msgspec).

PutLogEvents brings thousands of events at once; parsing them and then looking at each in Python was half of what the
call cost. What msgspec takes means the same to ``json_shapes.Readers``; whatever it does not take (``null``, 5.0 for 5,
half a surrogate pair, a wrong type) is left to them, with AWS's words for what is wrong.
"""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import msgspec
from botocore.model import ListShape, MapShape, Shape, StructureShape

from skylift.wire.json_shapes import wire_name

LEAST_BYTES = 16 * 1024
"""Below this a decoder of one's own pays for nothing."""

_SCALARS: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)],
    "long": Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)],
}


class LongBodies:
    """Decoders of one service's shapes, made at first use."""

    def __init__(self) -> None:
        self._decoders: dict[str, msgspec.json.Decoder[Any] | None] = {}

    def read(self, shape: Shape, body: bytes) -> dict[str, Any] | None:
        """The members of a body. ``None``: not for us to read, or not as the model says."""
        if len(body) < LEAST_BYTES:
            return None
        if shape.name not in self._decoders:
            self._decoders[shape.name] = _decoder(shape)
        decoder = self._decoders[shape.name]
        try:
            found: dict[str, Any] | None = decoder.decode(body) if decoder is not None else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return found


class _NotDirect(Exception):
    """The shape has something that only ``Readers`` can read: a blob, a time, a number with a fraction, itself."""


def _decoder(shape: Shape) -> msgspec.json.Decoder[Any] | None:
    try:
        return msgspec.json.Decoder(_type_of(shape, frozenset()))
    except _NotDirect:
        return None


def _type_of(shape: Shape, around: frozenset[str]) -> Any:
    if shape.name in around:
        raise _NotDirect
    within = around | {shape.name}
    if isinstance(shape, StructureShape):
        if shape.is_document_type or any(wire_name(name, one) != name for name, one in shape.members.items()):
            raise _NotDirect
        members = {name: _type_of(member, within) for name, member in shape.members.items()}
        return TypedDict(shape.name, members, total=False)  # type: ignore[operator]  # made from a model
    if isinstance(shape, ListShape):
        return list[_type_of(shape.member, within)]  # type: ignore[misc]  # the same
    if isinstance(shape, MapShape):
        return dict[str, _type_of(shape.value, within)]  # type: ignore[misc]  # the same
    if shape.type_name not in _SCALARS:
        raise _NotDirect
    return _SCALARS[shape.type_name]
