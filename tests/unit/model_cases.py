"""Requests made from botocore's model: for each of its rules one that breaks just this rule, and one for each bound.

Every request has all members that the operation knows, all of them valid but the one that a case is about.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape

Text = Callable[[int], str]
Broken = tuple[str, Any, str]
"""Rule, a value that breaks it, words of the refusal."""


@dataclass(frozen=True)
class ModelCase:
    """One request.

    Attributes:
        rule: the rule that it breaks, or the bound that it keeps.
        path: the member, as AWS writes it: ``loggingConfiguration.taskLogs.logLevel``.
        words: what the refusal says of the rule.
    """

    operation: str
    rule: str
    path: str
    request: dict[str, Any]
    words: str = ""

    def __str__(self) -> str:
        return f"{self.operation}-{self.path}-{self.rule}"


class ModelCases:
    """The cases of an operation.

    Args:
        texts: by shape, what makes a valid text of a length; for shapes with a pattern.
        wrong: by shape, texts of a valid length that look right and break the pattern.
    """

    def __init__(self, operation: OperationModel, texts: dict[str, Text], wrong: dict[str, tuple[str, ...]]) -> None:
        self._operation = operation
        self._texts = texts
        self._wrong = wrong
        self.valid: dict[str, Any] = self._value(operation.input_shape)

    def broken(self) -> Iterator[ModelCase]:
        """Requests that break one rule each."""
        for path, shape, put in self._places(self._operation.input_shape, "", lambda value: value):
            for rule, value, words in self._breaks(shape):
                yield ModelCase(self._operation.name, rule, path, put(value), words)
            if isinstance(shape, StructureShape):
                for name in shape.required_members:
                    without = {key: one for key, one in self._value(shape).items() if key != name}
                    inner = _joined(path, _camel(name))
                    yield ModelCase(self._operation.name, "required", inner, put(without), "must not be null")

    def bounds(self) -> Iterator[ModelCase]:
        """Valid requests with a value at the end of what a rule allows."""
        for path, shape, put in self._places(self._operation.input_shape, "", lambda value: value):
            for rule, value in self._keeps(shape):
                yield ModelCase(self._operation.name, rule, path, put(value))

    def _places(
        self, shape: Shape, path: str, put: Callable[[Any], dict[str, Any]]
    ) -> Iterator[tuple[str, Shape, Callable[[Any], dict[str, Any]]]]:
        """Every shape below one, its path, and a function that makes the whole request with a value there."""
        yield path, shape, put
        value = self._value(shape)
        if isinstance(shape, StructureShape):
            for name, member in shape.members.items():
                inside = _inside(put, value, name)
                yield from self._places(member, _joined(path, _camel(name)), inside)
        elif isinstance(shape, ListShape):
            yield from self._places(shape.member, f"{path}.1.member", lambda one: put([one, *value[1:]]))
        elif isinstance(shape, MapShape):
            ((key, inner),) = value.items()
            # AWS writes the key itself into the path, so a case knows it only once it has one.
            yield from self._places(shape.key, f"{path}.*.key", lambda one: put({one: inner}))
            yield from self._places(shape.value, f"{path}.{key}.value", lambda one: put({key: one}))

    def _value(self, shape: Shape) -> Any:
        if isinstance(shape, StructureShape):
            return {name: self._value(member) for name, member in shape.members.items()}
        if isinstance(shape, ListShape):
            return [self._value(shape.member) for _ in range(shape.metadata.get("min", 1))]
        if isinstance(shape, MapShape):
            return {self._value(shape.key): self._value(shape.value)}
        if isinstance(shape, StringShape):
            return shape.enum[0] if shape.enum else self._text(shape, 0)
        return {"integer": 1, "boolean": True}[shape.type_name]

    def _text(self, shape: Shape, length: int) -> str:
        return self._texts.get(shape.name, _any_text)(length)

    def _breaks(self, shape: Shape) -> Iterator[Broken]:
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if least and (smaller := self._sized(shape, least - 1)) is not None:
            yield "min", smaller, f"greater than or equal to {least}"
        if most is not None:
            yield "max", self._sized(shape, most + 1), f"less than or equal to {most}"
        if isinstance(shape, StringShape) and shape.enum:
            listed = f"enum value set: [{', '.join(shape.enum)}]"
            yield from (("enum", text, listed) for text in ("", shape.enum[0].lower(), shape.enum[0] + "x"))
        if pattern := shape.metadata.get("pattern"):
            text, words = self._text(shape, 0), f"regular expression pattern: {pattern}"
            # A line break at either end: what a search instead of a match, or a `$`, would let through.
            for wrong in (f"\n{text[1:]}", f"{text[:-1]}\n", *self._wrong.get(shape.name, ())):
                yield "pattern", wrong, words

    def _keeps(self, shape: Shape) -> Iterator[tuple[str, Any]]:
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        # No text of the least length matches some patterns, for example an ARN of one character.
        if least is not None and (value := self._sized(shape, least)) is not None:
            yield "min", value
        if most is not None:
            yield "max", self._sized(shape, most)
        if isinstance(shape, StringShape):
            yield from (("enum", word) for word in shape.enum)

    def _sized(self, shape: Shape, size: int) -> Any:
        if isinstance(shape, ListShape):
            return [self._value(shape.member) for _ in range(size)]
        if isinstance(shape, MapShape):
            value = self._value(shape.value)
            return {f"{self._value(shape.key)}{number}": value for number in range(size)}
        if not isinstance(shape, StringShape):
            return size
        text = self._text(shape, size) if size else ""
        return text if len(text) == size else None


def _any_text(length: int) -> str:
    return "x" * max(length, 1)


def _inside(put: Callable[[Any], dict[str, Any]], value: dict[str, Any], name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda one: put({**copy.deepcopy(value), name: one})


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]
