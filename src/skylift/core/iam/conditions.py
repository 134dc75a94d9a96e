"""The ``Condition`` element of IAM policies: every operator, ``...IfExists``, ``ForAllValues:``, ``ForAnyValue:`` and
``Null``.

The rules for keys that a request does not have: a condition fails, unless its operator is negated
(``StringNotEquals``),
ends in ``IfExists``, or begins with ``ForAllValues:``.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.core.errors import Refused
from skylift.core.iam.patterns import Context, Pattern, Spelling

_ALL, _ANY = "forallvalues:", "foranyvalue:"
_IF_EXISTS = "ifexists"
_EPOCH = re.compile(r"-?\d+(\.\d+)?")

Compare = Callable[[str, Context], bool]
"""Whether a value of the request is what the policy names."""


@dataclass(frozen=True)
class Condition:
    """One key of one operator.

    Attributes:
        key: in lower case.
        expected: one for each value in the policy; one of them must hold (for a negated operator, none).
        negated: ``StringNotEquals`` and the like.
        if_exists: holds if the request does not have the key.
        every: ``ForAllValues``: every value of the request must hold.
        some: ``ForAnyValue``: one must.
        absent: the ``Null`` operator: whether the key must be missing; ``None`` for other operators.
    """

    key: str
    expected: tuple[Compare, ...] = ()
    negated: bool = False
    if_exists: bool = False
    every: bool = False
    some: bool = False
    absent: bool | None = None

    def holds(self, context: Context) -> bool:
        """Whether a request with this context meets it."""
        found = context.get(self.key)
        if self.absent is not None:
            return (not found and found != "") is self.absent
        if found is None or found == ():
            return self.if_exists or self.every or (self.negated and not self.some)
        values = found if isinstance(found, tuple) else (found,)
        combine = all if self.every or (self.negated and not self.some) else any
        return combine(self._meets(value, context) for value in values)

    def _meets(self, value: str, context: Context) -> bool:
        return any(compare(value, context) for compare in self.expected) is not self.negated


def conditions_of(element: Any, *, variables: bool) -> tuple[Condition, ...]:
    """The conditions of a statement; all must hold. Raises ``Refused`` for what IAM would not accept."""
    if not isinstance(element, Mapping):
        raise Refused("Condition must be an object: {operator: {key: value}}")
    found = []
    for operator, keys in element.items():
        if not isinstance(keys, Mapping):
            raise Refused(f"Condition {operator} must be an object: {{key: value}}")
        found += [_condition(operator, str(key), values, variables) for key, values in keys.items()]
    return tuple(found)


def _condition(operator: str, key: str, values: Any, variables: bool) -> Condition:
    texts = [
        _text(one) for one in (values if isinstance(values, Sequence) and not isinstance(values, str) else [values])
    ]
    name = operator.lower()
    every, some = name.startswith(_ALL), name.startswith(_ANY)
    name = name.removeprefix(_ALL).removeprefix(_ANY)
    if name == "null":
        if [one.lower() for one in texts] not in (["true"], ["false"]):
            raise Refused(f"Condition {operator} takes true or false, not {values!r}")
        return Condition(key.lower(), absent=texts[0].lower() == "true")
    if_exists = name.endswith(_IF_EXISTS)
    name = name.removesuffix(_IF_EXISTS)
    row = _OPERATORS.get(name)
    if row is None:
        raise Refused(f"Condition operator {operator} is unknown")
    prepare, negated = row
    try:
        expected = tuple(prepare(one, variables) for one in texts)
    except ValueError as error:
        raise Refused(f"Condition {operator} of {key}: {error}") from error
    return Condition(key.lower(), expected, negated, if_exists, every, some)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Refused(f"a value of a condition is a text, a number or a boolean, not {value!r}")


# One function per family of operators: it reads the policy's value, and makes the comparison.


def _equals(text: str, variables: bool) -> Compare:
    pattern = Pattern(text, variables=variables)
    return pattern.equals


def _equals_ignoring_case(text: str, variables: bool) -> Compare:
    pattern = Pattern(text, variables=variables)
    return lambda value, context: pattern.equals(value, context, ignore_case=True)


def _like(text: str, variables: bool) -> Compare:
    return Pattern(text, variables=variables).matches


def _arn(text: str, variables: bool) -> Compare:
    return Pattern(text, Spelling.ARN, variables=variables).matches


def _number(test: Callable[[float, float], bool]) -> Callable[[str, bool], Compare]:
    def prepare(text: str, _variables: bool) -> Compare:
        expected = float(text)
        return lambda value, _context: (found := _float(value)) is not None and test(found, expected)

    return prepare


def _date(test: Callable[[float, float], bool]) -> Callable[[str, bool], Compare]:
    def prepare(text: str, _variables: bool) -> Compare:
        expected = _seconds(text)
        if expected is None:
            raise ValueError(f"{text!r} is not a date like 2030-12-31T23:59:59Z, or seconds since 1970")
        wanted = expected
        return lambda value, _context: (found := _seconds(value)) is not None and test(found, wanted)

    return prepare


def _bool(text: str, _variables: bool) -> Compare:
    expected = text.lower()
    if expected not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return lambda value, _context: value.lower() == expected


def _binary(text: str, _variables: bool) -> Compare:
    expected = _decoded(text)
    if expected is None:
        raise ValueError(f"{text!r} is not base64")
    return lambda value, _context: _decoded(value) == expected


def _address(text: str, _variables: bool) -> Compare:
    network = ipaddress.ip_network(text, strict=False)

    def within(value: str, _context: Context) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return within


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _seconds(text: str) -> float | None:
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


_OPERATORS: dict[str, tuple[Callable[[str, bool], Compare], bool]] = {
    "stringequals": (_equals, False),
    "stringnotequals": (_equals, True),
    "stringequalsignorecase": (_equals_ignoring_case, False),
    "stringnotequalsignorecase": (_equals_ignoring_case, True),
    "stringlike": (_like, False),
    "stringnotlike": (_like, True),
    "arnequals": (_arn, False),
    "arnlike": (_arn, False),
    "arnnotequals": (_arn, True),
    "arnnotlike": (_arn, True),
    "numericequals": (_number(lambda a, b: a == b), False),
    "numericnotequals": (_number(lambda a, b: a == b), True),
    "numericlessthan": (_number(lambda a, b: a < b), False),
    "numericlessthanequals": (_number(lambda a, b: a <= b), False),
    "numericgreaterthan": (_number(lambda a, b: a > b), False),
    "numericgreaterthanequals": (_number(lambda a, b: a >= b), False),
    "dateequals": (_date(lambda a, b: a == b), False),
    "datenotequals": (_date(lambda a, b: a == b), True),
    "datelessthan": (_date(lambda a, b: a < b), False),
    "datelessthanequals": (_date(lambda a, b: a <= b), False),
    "dategreaterthan": (_date(lambda a, b: a > b), False),
    "dategreaterthanequals": (_date(lambda a, b: a >= b), False),
    "bool": (_bool, False),
    "binaryequals": (_binary, False),
    "ipaddress": (_address, False),
    "notipaddress": (_address, True),
}
"""By name in lower case: how the policy's value is read, and whether the operator is negated."""
