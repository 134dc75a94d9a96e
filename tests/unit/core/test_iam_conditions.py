"""The condition operators of IAM, by the rules of "IAM JSON policy elements: Condition operators"."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.core.iam.conditions import conditions_of

pytestmark = pytest.mark.unit

ARN = "arn:aws:ecs:us-east-1:111122223333:cluster/prod"


def holds(operator: str, key: str, expected: Any, **context: Any) -> bool:
    found = {name.replace("_", ":").lower(): value for name, value in context.items()}
    return all(one.holds(found) for one in conditions_of({operator: {key: expected}}, variables=True))


@pytest.mark.parametrize(
    ("operator", "expected", "value", "outcome"),
    [
        ("StringEquals", "Blue", "Blue", True),
        ("StringEquals", "Blue", "blue", False),
        ("StringEquals", ["Red", "Blue"], "Blue", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a*", "a*", True),
        ("StringNotEquals", ["Red", "Blue"], "Blue", False),
        ("StringNotEquals", ["Red", "Blue"], "Green", True),
        ("StringEqualsIgnoreCase", "Blue", "bLUE", True),
        ("StringNotEqualsIgnoreCase", "Blue", "bLUE", False),
        ("StringLike", "mar*ing/?", "marketing/1", True),
        ("StringLike", "mar*ing/?", "marketing/", False),
        ("StringNotLike", "mar*", "marketing", False),
        ("NumericEquals", 10, "10.0", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "11", True),
        ("NumericGreaterThanEquals", "10", "9", False),
        ("NumericLessThan", "10", "few", False),
        ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", True),
        ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00", False),
        ("DateLessThan", "2026-06-30T23:59:59Z", "2026-06-30T23:59:58Z", True),
        ("DateLessThanEquals", "2026-06-30", "2026-06-30T00:00:00Z", True),
        ("DateGreaterThan", "2026-06-30T23:59:59Z", "2026-06-30T23:59:59Z", False),
        ("DateGreaterThanEquals", "2026-06-30T23:59:59Z", "2026-06-30T23:59:59Z", True),
        ("Bool", "true", "TRUE", True),
        ("Bool", True, "false", False),
        ("BinaryEquals", "QmluYXJ5VmFsdWU=", "QmluYXJ5VmFsdWU=", True),
        ("BinaryEquals", "QmluYXJ5VmFsdWU=", "QmluYXJ5", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.7", False),
        ("IpAddress", "2001:DB8:1234:5678::/64", "2001:db8:1234:5678::1", True),
        ("NotIpAddress", ["203.0.113.0/24", "192.0.2.1"], "192.0.2.1", False),
        ("NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
        ("ArnEquals", "arn:aws:ecs:*:*:cluster/pr*", ARN, True),
        ("ArnLike", "arn:aws:ecs:*:cluster/prod", ARN, False),
        ("ArnLike", "arn:aws:ecs:us-east-?:111122223333:cluster/*", ARN, True),
        ("ArnNotEquals", ARN, ARN, False),
        ("ArnNotLike", "arn:aws:ecs:*:*:cluster/test*", ARN, True),
        ("Null", "true", "here", False),
        ("Null", "false", "here", True),
    ],
)
def test_an_operator(operator: str, expected: Any, value: str, outcome: bool) -> None:
    assert holds(operator, "k", expected, k=value) is outcome
    if operator != "Null":
        assert holds(f"{operator}IfExists", "k", expected, k=value) is outcome


@pytest.mark.parametrize(
    ("operator", "outcome"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("StringNotLike", True),
        ("ArnLike", False),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAnyValue:StringEqualsIfExists", True),
    ],
)
def test_a_key_that_the_request_does_not_have(operator: str, outcome: bool) -> None:
    assert holds(operator, "k", "x") is outcome
    assert holds(operator, "k", "x", k=()) is outcome


def test_null_asks_whether_the_key_is_there() -> None:
    assert holds("Null", "aws:TokenIssueTime", "true")
    assert not holds("Null", "aws:TokenIssueTime", False)
    assert holds("Null", "aws:TokenIssueTime", "false", aws_TokenIssueTime="2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("operator", "values", "outcome"),
    [
        ("ForAllValues:StringEquals", ("environment",), True),
        ("ForAllValues:StringEquals", ("environment", "webserver"), True),
        ("ForAllValues:StringEquals", ("environment", "owner"), False),
        ("ForAnyValue:StringEquals", ("owner", "webserver"), True),
        ("ForAnyValue:StringEquals", ("owner",), False),
        ("ForAllValues:StringNotEquals", ("owner", "environment"), False),
        ("ForAnyValue:StringNotEquals", ("owner", "environment"), True),
        ("ForAnyValue:StringNotEquals", ("environment",), False),
    ],
)
def test_keys_with_several_values(operator: str, values: tuple[str, ...], outcome: bool) -> None:
    """The tag keys of "Multivalued context keys"."""
    assert holds(operator, "aws:TagKeys", ["environment", "webserver"], aws_TagKeys=values) is outcome


def test_all_keys_and_operators_must_hold() -> None:
    element = {
        "DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
        "IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "203.0.113.0/24"]},
        "StringLike": {"a": "x*", "b": "y*"},
    }
    good = {"aws:currenttime": "2026-02-01T00:00:00Z", "aws:sourceip": "203.0.113.9", "a": "x1", "b": "y1"}
    conditions = conditions_of(element, variables=True)
    assert all(one.holds(good) for one in conditions)
    for key in good:
        assert not all(one.holds({**good, key: "0.0.0.0"}) for one in conditions), key


def test_a_variable_without_value_equals_nothing() -> None:
    assert not holds("StringEquals", "k", "${aws:username}", k="${aws:username}")
    assert holds("StringNotEquals", "k", "${aws:username}", k="anna")
    assert holds("StringEquals", "k", "${aws:username}", k="anna", aws_username="anna")
    assert not holds("StringLike", "k", "${aws:TagKeys}", k="a", aws_TagKeys=("a",))
