"""Does a request obey the model's rules? Compiled once per shape from botocore's model, with AWS's error texts.

Rules: required members, lengths, ranges, patterns, enums. botocore's client checks only required members, types and
minima; the server must check the rest. Types are checked where a request is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

from skylift.wire.compiled import Compiled

Check = Callable[[Any, str], Iterator[str]]
"""Value and its path to the failures: ``Value 'x' at 'name' failed to satisfy constraint: Member must ...``."""

_LONGEST_SHOWN = 256
_SPACES = "\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CLASSES = {
    r"\p{L}\p{Z}\p{N}_": rf"\w{_SPACES}",
    r"\p{Print}": r"[\x20-\x7e]",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
}
"""What Python's ``re`` lacks: Unicode classes (letters, digits and underscore together are its ``\\w``), and characters
as pairs of surrogates."""
_SCALARS = {"integer": int, "long": int, "float": float, "double": float}


class Checks(Compiled[Check]):
    """The checks of one service's shapes.

    Args:
        unchecked: names of shapes that may have any value of their type.
        rules: false: only look whether required members are there, as botocore's own client does.
        patterns: false: try no regular expressions. Those of services that are not ours may be such that Python cannot
            say them, or that a short text keeps them busy for ever.
        required: further members, by shape, that must be there.
    """

    def __init__(
        self,
        unchecked: frozenset[str] = frozenset(),
        *,
        rules: bool = True,
        patterns: bool = True,
        required: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        super().__init__()
        self._required = required or {}
        self._unchecked = unchecked
        self._rules = rules
        self._patterns = patterns

    def _compile(self, shape: Shape) -> Check:
        if shape.name in self._unchecked:
            return _nothing
        if isinstance(shape, StructureShape):
            return _nothing if shape.is_document_type else self._structure(shape)
        if isinstance(shape, ListShape):
            return self._list(shape)
        if isinstance(shape, MapShape):
            return self._map(shape)
        return _scalar(shape, patterns=self._patterns) if self._rules else _nothing

    def _structure(self, shape: StructureShape) -> Check:
        members = [(name, _camel(name), self.of(member)) for name, member in shape.members.items()]
        members = [member for member in members if member[2] is not _nothing]
        required = [(name, _camel(name)) for name in (*shape.required_members, *self._required.get(shape.name, ()))]

        def check(value: dict[str, Any], path: str) -> Iterator[str]:
            for name, shown in required:
                if name not in value:
                    yield f"Value null at '{path}{shown}' failed to satisfy constraint: Member must not be null"
            for name, shown, member in members:
                if name in value:
                    inner = value[name]
                    yield from member(inner, f"{path}{shown}." if isinstance(inner, dict) else f"{path}{shown}")

        return check

    def _list(self, shape: ListShape) -> Check:
        item = self.of(shape.member)
        length = _length(shape) if self._rules else _nothing

        def check(value: list[Any], path: str) -> Iterator[str]:
            yield from length(value, path)
            for number, inner in enumerate(value, 1):
                dot = "." if isinstance(inner, dict) else ""
                yield from item(inner, f"{path}.{number}.member{dot}")

        return check

    def _map(self, shape: MapShape) -> Check:
        key_check, value_check = self.of(shape.key), self.of(shape.value)
        length = _length(shape) if self._rules else _nothing

        def check(value: dict[str, Any], path: str) -> Iterator[str]:
            yield from length(value, path.removesuffix("."))
            for key, inner in value.items():
                yield from key_check(key, f"{path}{key}.key")
                yield from value_check(inner, f"{path}{key}.value" + ("." if isinstance(inner, dict) else ""))

        return check


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _nothing(_value: Any, _path: str) -> Iterator[str]:
    return iter(())


def _scalar(shape: Shape, *, patterns: bool) -> Check:
    if isinstance(shape, StringShape):
        return _string(shape, patterns=patterns)
    if shape.type_name in _SCALARS:
        return _range(shape)
    return _length(shape) if shape.type_name == "blob" else _nothing


def _string(shape: StringShape, *, patterns: bool) -> Check:
    """Lengths first: a pattern is only tried on a text of lawful length, so that no long text can keep it busy."""
    length, words, pattern = _length(shape), shape.enum, shape.metadata.get("pattern") if patterns else None
    expression = compile_pattern(pattern) if pattern else None
    if length is _nothing and not words and expression is None:
        return _nothing
    allowed, listed = frozenset(words), ", ".join(words)

    def check(value: str, path: str) -> Iterator[str]:
        failures = list(length(value, path))
        yield from failures
        if allowed and value not in allowed:
            yield _failure(shape, value, path, f"Member must satisfy enum value set: [{listed}]")
        if not failures and expression is not None and expression.fullmatch(value) is None:
            yield _failure(shape, value, path, f"Member must satisfy regular expression pattern: {pattern}")

    return check


def _length(shape: Shape) -> Check:
    return _bounds(shape, len, "Member must have length")


def _range(shape: Shape) -> Check:
    return _bounds(shape, lambda value: value, "Member must have value")


def _bounds(shape: Shape, measure: Callable[[Any], Any], words: str) -> Check:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is None and most is None:
        return _nothing

    def check(value: Any, path: str) -> Iterator[str]:
        size = measure(value)
        if least is not None and size < least:
            yield _failure(shape, value, path, f"{words} greater than or equal to {least}")
        if most is not None and size > most:
            yield _failure(shape, value, path, f"{words} less than or equal to {most}")

    return check


def _failure(shape: Shape, value: Any, path: str, rule: str) -> str:
    """A sensitive value is not shown: the text goes over the wire and into logs."""
    shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
    shown = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "..."
    holds_secrets = shape.metadata.get("sensitive") or shape.type_name in {"blob", "map"}
    subject = f"Value at '{path}'" if holds_secrets else f"Value '{shown}' at '{path}'"
    return f"{subject} failed to satisfy constraint: {rule}"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern of the model (Java's dialect) for ``fullmatch``. Raises ``re.error`` for one that cannot be said in
    Python."""
    unicode_wide = r"\p{" in pattern
    for foreign, ours in _CLASSES.items():
        pattern = pattern.replace(foreign, ours)
    return re.compile(pattern, 0 if unicode_wide else re.ASCII)
