"""Finds what is wrong with the arguments of an AWS call without making it, by botocore's model of the service.

botocore's own check accepts any text where the model lists words, accepts ``True`` for a number, and quotes the wrong
value, which may be a secret. This check says what was expected instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from skylift.aws import models

MOST_NAMES = 5
"""Members of an object that are listed when something else stands in its place."""

MOST_QUOTED = 60
"""Characters of a wrong word that are shown."""


def mistakes(service: str, operation: str, arguments: Mapping[str, Any], *, partial: bool = False) -> str:
    """Unknown names, wrong types, words that AWS does not have and what is missing, in one line; "" for none.

    Args:
        service: boto3's name, e.g. ``ecs``.
        operation: e.g. ``RunTask``.
        partial: the arguments will be merged with others: what an object lacks may come from there. (Not so in a list.)
    """
    return "; ".join(_wrong(_input(service, operation), arguments, "", partial))


@cache
def _input(service: str, operation: str) -> Any:
    return models.core().get_service_model(service).operation_model(operation).input_shape


def _wrong(shape: Any, value: Any, path: str, partial: bool) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        yield from _structure(shape, value, path, partial)
    elif kind == "map" and isinstance(value, Mapping):
        for key, one in value.items():
            if not isinstance(key, str):
                yield f"{path}: the key {key!r} is no text"
            yield from _wrong(shape.value, one, f"{path}.{key}", False)
    elif kind == "list" and isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _wrong(shape.member, one, f"{path}[{index}]", False)
    elif kind in _SCALARS and _SCALARS[kind](value):
        yield from _scalar(shape, value, path)
    elif isinstance(value, int) and not isinstance(value, bool) and kind in {"integer", "long"}:
        yield f"{path} is too large a number"
    elif kind in _EXPECTED:
        yield f"{path or 'input'} is {_is(value)}: expected {_expected(shape)}"


def _structure(shape: Any, value: Mapping[Any, Any], path: str, partial: bool) -> Iterator[str]:
    for name in () if partial else shape.required_members:
        if name not in value:
            yield f'Missing required parameter in {path or "input"}: "{name}"'
    for name, one in value.items():
        if name not in shape.members:
            yield f'Unknown parameter in {path or "input"}: "{name}", must be one of: {", ".join(shape.members)}'
        else:
            yield from _wrong(shape.members[name], one, f"{path}.{name}" if path else name, partial)


def _scalar(shape: Any, value: Any, path: str) -> Iterator[str]:
    least = shape.metadata.get("min")
    if isinstance(value, str):
        words = getattr(shape, "enum", [])
        if words and value not in words:
            near = [one for one in words if one.lower() == value.lower()] or get_close_matches(value, words, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield f"{path} = {value[:MOST_QUOTED]!r} is none of {', '.join(words)}{hint}"
        elif least is not None and len(value) < least:
            yield f"{path} must have at least {least} characters"
    elif least is not None and not isinstance(value, bool) and value < least:
        yield f"{path} = {value}: the least is {least}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_SCALARS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31,
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
    "float": _is_number,
    "double": _is_number,
    "boolean": lambda value: isinstance(value, bool),
}

_EXPECTED = {
    "structure": "an object",
    "map": "an object",
    "list": "a list",
    "string": "text",
    "integer": "a whole number",
    "long": "a whole number",
    "float": "a number",
    "double": "a number",
    "boolean": "true or false",
}


def _expected(shape: Any) -> str:
    word = _EXPECTED[shape.type_name]
    if shape.type_name == "structure":
        names = [*shape.members]
        more = ", …" if len(names) > MOST_NAMES else ""
        return f"{word} with {', '.join(names[:MOST_NAMES])}{more}" if names else word
    if shape.type_name == "list":
        inner = _expected(shape.member)
        return f"{word} of {inner.replace('an object', 'objects', 1) if inner.startswith('an object') else inner}"
    return f"{word} whose values are {_expected(shape.value)}" if shape.type_name == "map" else word


def _is(value: Any) -> str:
    """What something is, in JSON's words; the value itself may be a secret."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    for types, word in ((str, "text"), (Mapping, "an object"), (list | tuple, "a list"), (int, "a whole number")):
        if isinstance(value, types):
            return word
    return "a number" if isinstance(value, float) else f"a {type(value).__name__}"
