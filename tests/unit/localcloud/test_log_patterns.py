"""The filter-pattern language of CloudWatch Logs: AWS's own examples, what is refused, and generated patterns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.localcloud.logs.batches import LogBatch, pack
from skylift.localcloud.logs.patterns.lexer import InvalidPattern
from skylift.localcloud.logs.patterns.pattern import parse
from skylift.localcloud.logs.reading import LAST

pytestmark = pytest.mark.unit

BANDWIDTH = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "cluster.name": "c",
        "bandwidth": 75.5,
        "latency": 50,
        "errorCode": 400,
        "on": True,
        "off": False,
        "text": "40",
        "deep": {"er": {"key": "x y"}},
    }
)


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        (" ", "anything", True),
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR", "error", False),
        ("ERROR ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", True),
        ("ERROR ARGUMENTS", "[ERROR 400] BAD REQUEST", False),
        ("?ERROR ?ARGUMENTS", "[INFO] 420 INVALID ARGUMENTS", True),
        ("?ERROR ?ARGUMENTS", "[INFO] fine", False),
        ("?INFO REQUEST", "[WARN] UNAUTHORIZED REQUEST", True),  # ? beside another term is ignored
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "SERVER INTERNAL ERROR", False),
        ("ERROR -ARGUMENTS", "[ERROR 400] BAD REQUEST", True),
        ("ERROR -ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", False),
        ('-"two words"', "two words", False),
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", True),
        (r"%\d{3}%", "code 404", True),
        (r"%^\[ERR%", "an [ERROR]", False),
        (r'"say \"hi\""', 'they say "hi"', True),
        ('{ $.eventType = "UpdateTrail" }', BANDWIDTH, True),
        ("{$.eventType=UpdateTrail}", BANDWIDTH, True),
        ('{ $.eventType = "Update*" }', BANDWIDTH, True),
        ('{ $.eventType = "*" }', BANDWIDTH, True),
        ("{ $.eventType = %Trail% }", BANDWIDTH, True),
        ("{ $.sourceIPAddress != 123.123.* }", BANDWIDTH, True),
        ("{ $.sourceIPAddress = 111.111.* }", BANDWIDTH, True),
        ('{ $.arrayKey[0] = "value" }', BANDWIDTH, True),
        ('{ $.arrayKey[2] = "value" }', BANDWIDTH, False),
        ("{ $.objectList[*].id = 2 }", BANDWIDTH, True),
        ("{ $.objectList[*].id = 3 }", BANDWIDTH, False),
        ("{ $.SomeObject IS NULL }", BANDWIDTH, True),
        ("{ $.Other IS NULL }", BANDWIDTH, False),
        ("{ $.SomeOtherObject NOT EXISTS }", BANDWIDTH, True),
        ("{ $.SomeObject NOT EXISTS }", BANDWIDTH, False),
        ("{ $.SomeObject EXISTS }", BANDWIDTH, True),
        ("{ $.on IS TRUE && $.off IS FALSE }", BANDWIDTH, True),
        ("{ $.on IS FALSE }", BANDWIDTH, False),
        ("{ $.bandwidth > 75 }", BANDWIDTH, True),
        ("{ $.bandwidth >= 75.5 }", BANDWIDTH, True),
        ("{ $.latency < 50 }", BANDWIDTH, False),
        ("{ $.latency <= 5e1 }", BANDWIDTH, True),
        ("{ $.errorCode = 400 }", BANDWIDTH, True),
        ("{ $.errorCode = 4* }", BANDWIDTH, True),
        ("{ $.errorCode != 500 }", BANDWIDTH, True),
        ("{ $.missing != 500 }", BANDWIDTH, False),
        ("{ $.text > 39 }", BANDWIDTH, True),
        ("{ $['cluster.name'] = c }", BANDWIDTH, True),
        ('{ $.deep.er.key = "x y" }', BANDWIDTH, True),
        ("{ ($.errorCode = 1) || ($.latency = 50 && $.eventType = Nope*) }", BANDWIDTH, False),
        ("{ ($.errorCode = 1 || $.latency = 50) && $.eventType = Up* }", BANDWIDTH, True),
        ("{ $.a = 1 }", "no JSON", False),
        ("{ $.a = 1 }", '  {"a": 1}\n', True),
        ("[ip, user, status = 4*]", "127.0.0.1 frank 404", True),
        ("[ip, user, status = 4*]", "127.0.0.1 frank 404 more", False),
        (
            "[ip, user, username, timestamp, request = *.html*, status_code = 4*, bytes]",
            '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534',
            True,
        ),
        ("[..., status_code = 404, bytes]", 'a b c [x y] "GET / HTTP/1.0" 404 1534', True),
        ("[ip, ..., bytes > 1500]", 'a b c [x y] "GET / HTTP/1.0" 404 1534', True),
        ("[ip, ..., bytes > 2000]", 'a b c [x y] "GET / HTTP/1.0" 404 1534', False),
        ("[ip, ...]", "alone", True),
        ("[w1 = ERROR, w2]", "ERROR 404", True),
        ("[w1 != ERROR && w1 != WARN, w2]", "INFO x", True),
        ("[w1 != ERROR && w1 != WARN, w2]", "WARN x", False),
        ("[code = 404 || code = 410]", "410", True),
        ("[ip = %127\\.0\\.0\\.[1-9]%, ...]", "127.0.0.7 x", True),
        ('[level = "a, b", n]', '"a, b" 1', True),
    ],
)
def test_a_pattern_matches(pattern: str, message: str, expected: bool) -> None:
    assert parse(pattern).matches(message) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "a:b",
        "foo-bar",
        "?",
        '""',
        '"never closed',
        "{ $.a = 1",
        "{ $.a = }",
        "{ $.a = 1 && }",
        "{ a = 1 }",
        "{ $.a == 1 }",
        "{ $.a IS MAYBE }",
        "{ ($.a = 1 }",
        "{ $.*.* = 1 }",
        "[a, b",
        "[a = 1 && b = 2]",
        "[..., a, ...]",
        "%no!%",
        "%(group)%",
        "{ $.a = %x% && $.b = %y% && $.c = %z% }",
        "%[a%",
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern) as caught:
        parse(pattern)
    assert str(caught.value).startswith(("Invalid", "If a filter pattern starts with"))


def test_the_values_of_a_patterns_fields() -> None:
    assert parse("{ $.latency = * }").values('{"latency": 5}') == {"$.latency": "5"}
    assert parse("[ip, , status]").values("1 2 3") == {"$ip": "1", "$2": "2", "$status": "3"}
    assert parse("ERROR").values("ERROR") == {}


KEYS = st.sampled_from(["a", "b", "level", "message"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-50, 500),
    st.floats(-10, 10).map(lambda one: round(one, 2)),
    st.sampled_from(["ERROR", "WARN", "x y", "404", "é"]),
)
DOCUMENTS = st.dictionaries(KEYS, st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=3)), max_size=4)
LITERALS = st.sampled_from(['"ERROR"', "WARN", "404", "4*", '"x y"', "*", "-3", "1.5"])
LEAVES = st.builds(
    lambda path, operator, literal: (f"$.{'.'.join(path)}", operator, literal),
    st.lists(KEYS, min_size=1, max_size=2),
    st.sampled_from(["=", "!=", "<", ">", "<=", ">=", "NOT EXISTS", "IS NULL", "IS TRUE"]),
    LITERALS,
)


def leaf_text(leaf: tuple[str, str, str]) -> str:
    selector, operator, literal = leaf
    return f"{selector} {operator}" if operator[0] in "NI" else f"{selector} {operator} {literal}"


def leaf_holds(leaf: tuple[str, str, str], value: Any) -> bool:
    """Written differently from the code: by hand, for the few literals above."""
    selector, operator, literal = leaf
    for key in selector.split(".")[1:]:
        if not isinstance(value, dict) or key not in value:
            return operator == "NOT EXISTS"
        value = value[key]
    if operator in {"NOT EXISTS", "IS NULL", "IS TRUE"}:
        return {"NOT EXISTS": False, "IS NULL": value is None, "IS TRUE": value is True}[operator]
    if value is None or isinstance(value, bool | dict):
        return False
    bare = literal.strip('"')
    if operator in {"=", "!="}:
        text = value if isinstance(value, str) else json.dumps(value)
        if bare == "*":
            equal = True
        elif bare == "4*":
            equal = text.startswith("4")
        elif isinstance(value, str) or bare in {"ERROR", "WARN", "x y"}:
            equal = text == bare
        else:
            equal = float(value) == float(bare)
        return equal == (operator == "=")
    try:
        left, right = float(value), float(bare)
    except ValueError:
        return False
    if literal.startswith('"'):
        return False
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[operator]


@given(st.lists(st.lists(LEAVES, min_size=1, max_size=3), min_size=1, max_size=3), DOCUMENTS, st.booleans())
def test_generated_json_patterns(ways: list[list[tuple[str, str, str]]], document: Any, ascii_only: bool) -> None:
    text = " || ".join(f"({' && '.join(map(leaf_text, leaves))})" for leaves in ways)
    pattern, message = parse(f"{{ {text} }}"), json.dumps(document, ensure_ascii=ascii_only)
    expected = any(all(leaf_holds(leaf, document) for leaf in leaves) for leaves in ways)
    assert pattern.matches(message) is expected
    assert found([message], f"{{ {text} }}") == ([message] if expected else [])


WORDS = st.sampled_from(["ERROR", "WARN", "OR", "user", "x1", "ü"])
TERMS = st.lists(st.tuples(st.sampled_from(["", "-", "?"]), WORDS), min_size=1, max_size=4)
MESSAGES = st.lists(st.text("ERORWANuserx1ü ", max_size=12), min_size=1, max_size=30)


@given(TERMS, MESSAGES)
def test_generated_terms_find_the_same_in_a_packed_batch(terms: list[tuple[str, str]], messages: list[str]) -> None:
    """The search in a batch's bytes leaves out nothing, and finds nothing across two messages."""
    by_sign = {sign: [word for mark, word in terms if mark == sign] for sign in ("", "-", "?")}

    def expected(message: str) -> bool:
        if by_sign[""] or by_sign["-"]:
            return all(word in message for word in by_sign[""]) and not any(word in message for word in by_sign["-"])
        return any(word in message for word in by_sign["?"])

    text = " ".join(f"{sign}{word}" for sign, word in terms)
    assert found(messages, text) == [message for message in messages if expected(message)]


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        pattern = parse(text)
    except InvalidPattern:
        return
    if pattern.matches(text):
        assert not pattern.needles or any(needle in text for needle in pattern.needles)


def found(messages: list[str], pattern: str) -> list[str]:
    packed = pack(range(len(messages)), messages)
    batch = LogBatch(1, 1, 0, packed.times, packed.ends, packed.text)
    parsed = parse(pattern) if pattern.strip() else None
    return [event.message for event in batch.events(0, LAST, parsed)]
