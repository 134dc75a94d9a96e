"""Laws that every decision keeps, on generated policies; and the same answers as another evaluator where both can."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skylift.core.iam.evaluate import AccessOutcome, AccessRequest, AppliedPolicies, evaluate
from skylift.core.iam.patterns import Pattern, Spelling
from skylift.core.iam.policy import Policy, PolicyKind, read_policy
from skylift.core.iam.principal import principal_of

pytestmark = pytest.mark.unit

WHO = principal_of("arn:aws:sts::111122223333:assumed-role/r/s")
ACTIONS = ["s3:GetObject", "s3:PutObject", "ecs:RunTask", "ecs:StopTask", "iam:PassRole"]
RESOURCES = [
    "*",
    "arn:aws:s3:::b/k",
    "arn:aws:s3:::b/d/k",
    "arn:aws:ecs:us-east-1:111122223333:task/c/1",
    "arn:aws:ecs:eu-west-1:111122223333:task/c/1",
]
ACTION_TEXTS = [*ACTIONS, "*", "s3:*", "ecs:*Task", "S3:getobject", "ecs:???Task", "iam:*"]
RESOURCE_TEXTS = [*RESOURCES, "arn:aws:s3:::b/*", "arn:aws:s3:::*", "arn:aws:ecs:*:*:task/c/?", "arn:aws:*:*:*:*"]
KEYS = {"aws:RequestedRegion": ["eu", "us"], "ecs:cluster": ["a", "b"], "s3:max-keys": ["5", "10"]}
OPERATORS = ["StringEquals", "StringNotEquals", "StringLike", "NumericLessThan", "Null", "StringEqualsIfExists"]


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 2))):
        operator, key = draw(st.sampled_from(OPERATORS)), draw(st.sampled_from(sorted(KEYS)))
        values = {"Null": ["true", "false"], "NumericLessThan": ["7", "20"]}.get(operator, [*KEYS[key], "*"])
        found.setdefault(operator, {})[key] = draw(st.sampled_from(values))
    return found


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    def some(texts: list[str]) -> list[str]:
        return draw(st.lists(st.sampled_from(texts), min_size=1, max_size=3))

    action, resource = (
        draw(st.sampled_from(["Action", "NotAction"])),
        draw(st.sampled_from(["Resource", "NotResource"])),
    )
    return {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        action: some(ACTION_TEXTS),
        resource: some(RESOURCE_TEXTS),
        "Condition": draw(conditions()),
    }


documents = st.lists(statements(), min_size=1, max_size=4).map(
    lambda found: {"Version": "2012-10-17", "Statement": found}
)
requests = st.builds(
    lambda action, resource, context: AccessRequest(WHO, action, resource, context),
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in KEYS.items()}),
)


def outcome(asked: AccessRequest, *identity: Policy, **more: Any) -> AccessOutcome:
    return evaluate(asked, AppliedPolicies(identity, **more)).outcome


@given(requests, documents, statements())
def test_a_further_deny_never_gives_and_a_further_allow_never_takes(
    asked: AccessRequest, document: Any, one: Any
) -> None:
    before = outcome(asked, read_policy(document))
    longer = {**document, "Statement": [*document["Statement"], {**one, "Effect": "Deny"}]}
    assert outcome(asked, read_policy(longer)) is not AccessOutcome.ALLOWED or before is AccessOutcome.ALLOWED
    longer = {**document, "Statement": [*document["Statement"], {**one, "Effect": "Allow"}]}
    after = outcome(asked, read_policy(longer))
    assert (after is AccessOutcome.EXPLICIT_DENY) is (before is AccessOutcome.EXPLICIT_DENY)
    assert after is AccessOutcome.ALLOWED or before is not AccessOutcome.ALLOWED


@given(requests, documents, documents)
def test_order_and_splitting_do_not_matter(asked: AccessRequest, one: Any, two: Any) -> None:
    joined = {**one, "Statement": [*reversed(two["Statement"]), *one["Statement"]]}
    expected = outcome(asked, read_policy(joined))
    assert outcome(asked, read_policy(one), read_policy(two)) is expected
    assert outcome(asked, read_policy(two), read_policy(one)) is expected


@given(requests, documents, documents)
def test_a_limit_allows_exactly_what_both_allow(asked: AccessRequest, one: Any, two: Any) -> None:
    ours, limit = read_policy(one), read_policy(two, PolicyKind.BOUNDARY)
    both = {outcome(asked, ours), outcome(asked, read_policy(two))}
    assert (outcome(asked, ours, boundary=limit) is AccessOutcome.ALLOWED) is (both == {AccessOutcome.ALLOWED})
    session = read_policy(two, PolicyKind.SESSION)
    assert outcome(asked, ours, session=[session]) is outcome(asked, ours, boundary=limit)


@given(requests, documents)
def test_a_deciding_statement_applies_and_says_so(asked: AccessRequest, document: Any) -> None:
    decision = evaluate(asked, AppliedPolicies([read_policy(document, name="p")]))
    if decision.outcome is AccessOutcome.IMPLICIT_DENY:
        assert decision.statement is None
        assert decision.message.endswith(f"allows the {asked.action} action")
    else:
        assert decision.statement is not None
        assert decision.statement.allows is decision.allowed
        assert decision.statement.applies(asked.action, asked.resource, asked.full_context())


@given(st.text("ab*?", max_size=6), st.text("ab", max_size=6))
def test_wildcards_match_as_by_the_book(text: str, value: str) -> None:
    def match(pattern: str, rest: str) -> bool:
        if not pattern:
            return not rest
        if pattern[0] == "*":
            return any(match(pattern[1:], rest[cut:]) for cut in range(len(rest) + 1))
        return bool(rest) and pattern[0] in {"?", rest[0]} and match(pattern[1:], rest[1:])

    assert Pattern(text).matches(value, {}) is match(text, value)
    assert Pattern(text, Spelling.ACTION).matches(value.upper(), {}) is match(text, value)


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_of_itself(text: str) -> None:
    escaped = "".join(f"${{{letter}}}" if letter in "*?$" else letter for letter in text)
    assert Pattern(escaped).matches(text, {})
    assert Pattern(escaped).equals(text, {})
    assert Pattern("${k}").matches(text, {"k": text})


@pytest.fixture(scope="module")
def other() -> Iterator[Any]:
    """The emulator's evaluator; its modules are removed again, because its state is the modules'."""
    before = set(sys.modules)
    yield importlib.import_module("ministack.core.iam_evaluator")
    for name in [name for name in sys.modules if name.startswith("ministack") and name not in before]:
        del sys.modules[name]


@settings(max_examples=100)
@given(requests, documents, st.none() | documents)
def test_another_evaluator_says_the_same(other: Any, asked: AccessRequest, document: Any, limit: Any) -> None:
    assume(not _differs_by_known_reason(document, limit))
    context = other.EvalContext(
        WHO.arn, "AssumedRole", WHO.account, asked.action, asked.resource, "", "", False,
        service_context={key.lower(): value for key, value in asked.context.items()},
        principal_keys={key.lower(): asked.context.get(key) for key in KEYS},
    )  # fmt: skip
    limits = [[other.parse_policy_document(limit)]] if limit else []
    theirs = other.evaluate(context, [other.parse_policy_document(document)], *limits).decision
    boundary = read_policy(limit, PolicyKind.BOUNDARY) if limit else None
    ours = outcome(asked, read_policy(document), boundary=boundary)
    names = dict(zip(AccessOutcome, ("Allow", "ImplicitDeny", "Deny"), strict=True))
    assert names[ours] == theirs


def _differs_by_known_reason(*documents: Any) -> bool:
    """There, ``aws:RequestedRegion`` is always known, and a wildcard of an ARN crosses its parts."""
    texts = [str(one) for one in documents if one]
    return any(word in text for word, text in itertools.product(("aws:RequestedRegion", "arn:aws:*"), texts))
