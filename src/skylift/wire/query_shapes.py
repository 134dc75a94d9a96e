"""AWS Query: converts ``Filters.member.1.Values.member.2=x`` to dicts, and dicts to XML. Compiled once per shape where
that pays."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import ListShape, MapShape, Shape, StructureShape

from skylift.wire.compiled import Compiled
from skylift.wire.errors import AwsError
from skylift.wire.json_shapes import parse_timestamp

Tree = dict[str, Any]
"""Form fields by their dotted names: a leaf is text; a branch that also had a text keeps it under ``""``."""

_DEEPEST = 64
_NUMBER = re.compile("[0-9]{1,9}")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def tree_of(fields: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> Tree:
    """Form fields as a tree. Of fields with the same name the last one holds."""
    tree: Tree = {}
    for name, text in fields:
        branch = tree
        for part in name.split(".", _DEEPEST):
            branch = branch.setdefault(part, {})
        branch[""] = text
    return tree


def read_structure(shape: StructureShape, tree: Tree) -> dict[str, Any]:
    """A structure from its fields. Raises ``AwsError`` for a text that is not of the member's type."""
    pairs = ((name, member, tree.get(member.serialization.get("name", name))) for name, member in shape.members.items())
    return {name: _read(member, branch, name) for name, member, branch in pairs if branch is not None}


def _read(shape: Shape, tree: Tree, name: str) -> Any:
    if isinstance(shape, StructureShape):
        return read_structure(shape, tree)
    if isinstance(shape, ListShape):
        word = shape.member.serialization.get("name", "member")
        branch = tree if shape.serialization.get("flattened") else tree.get(word, {})
        return [_read(shape.member, inner, name) for inner in _numbered(branch)]
    if isinstance(shape, MapShape):
        branch = tree if shape.serialization.get("flattened") else tree.get("entry", {})
        key_word, value_word = _entry_words(shape)
        entries = ((inner.get(key_word, {}), inner.get(value_word, {})) for inner in _numbered(branch))
        return {_read(shape.key, key, name): _read(shape.value, value, name) for key, value in entries}
    return _scalar(shape.type_name, tree.get("", ""), name)


def _numbered(branch: Tree) -> list[Tree]:
    return [branch[key] for key in sorted(filter(_NUMBER.fullmatch, branch), key=int)]


def _entry_words(shape: MapShape) -> tuple[str, str]:
    return shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")


def _scalar(type_name: str, text: str, name: str) -> Any:
    try:
        if type_name in {"integer", "long"}:
            return int(text)
        if type_name in {"float", "double"}:
            return float(text)
        if type_name == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if type_name == "timestamp":
            return parse_timestamp(text)
        return base64.b64decode(text, validate=True) if type_name == "blob" else text
    except (ValueError, KeyError, AwsError):
        raise AwsError("MalformedInput", f"the value of '{name}' is not of type {type_name}") from None


Write = Callable[[Any, list[str]], None]
"""Appends a value's XML, without its own tag, to the pieces."""


class XmlWriters(Compiled[Write]):
    """Python to XML, for one service's shapes."""

    def _compile(self, shape: Shape) -> Write:
        if isinstance(shape, StructureShape):
            return self._structure(shape)
        if isinstance(shape, ListShape):
            return self._list(shape)
        if isinstance(shape, MapShape):
            return self._map(shape)
        text = _TEXT.get(shape.type_name, str)
        return lambda value, out: out.append(xml_text(text(value)))

    def _structure(self, shape: StructureShape) -> Write:
        members = {
            name: (member.serialization.get("name", name), self._tagged(member))
            for name, member in shape.members.items()
        }

        def write(value: dict[str, Any], out: list[str]) -> None:
            for name, inner in value.items():
                if inner is not None and name in members:
                    tag, writer = members[name]
                    writer(tag, inner, out)

        return write

    def _tagged(self, shape: Shape) -> Callable[[str, Any, list[str]], None]:
        writer = self.of(shape)
        if isinstance(shape, ListShape) and shape.serialization.get("flattened"):
            item = self.of(shape.member)

            def write_each(tag: str, value: Any, out: list[str]) -> None:
                for inner in value:
                    _element(tag, item, inner, out)

            return write_each
        return lambda tag, value, out: _element(tag, writer, value, out)

    def _list(self, shape: ListShape) -> Write:
        tag, item = shape.member.serialization.get("name", "member"), self.of(shape.member)

        def write(value: Any, out: list[str]) -> None:
            for inner in value:
                _element(tag, item, inner, out)

        return write

    def _map(self, shape: MapShape) -> Write:
        key_word, value_word = _entry_words(shape)
        item = self.of(shape.value)

        def write(value: dict[str, Any], out: list[str]) -> None:
            for key, inner in value.items():
                out.append(f"<entry><{key_word}>{xml_text(key)}</{key_word}>")
                _element(value_word, item, inner, out)
                out.append("</entry>")

        return write


def xml_text(text: str) -> str:
    """Text for XML 1.0; characters that it cannot hold become U+FFFD."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))


def _element(tag: str, writer: Write, value: Any, out: list[str]) -> None:
    out.append(f"<{tag}>")
    writer(value, out)
    out.append(f"</{tag}>")


def _write_boolean(value: bool) -> str:
    return "true" if value else "false"


def _write_timestamp(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def _write_blob(value: bytes) -> str:
    return base64.b64encode(value).decode()


_TEXT: dict[str, Callable[[Any], str]] = {
    "boolean": _write_boolean,
    "timestamp": _write_timestamp,
    "blob": _write_blob,
}
