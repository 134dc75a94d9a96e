"""Rules of a load balancer without sockets: conditions, actions, and the heads of requests."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.localcloud.elb.actions import answer_of, checked_actions
from skylift.localcloud.elb.balancer import Shares
from skylift.localcloud.elb.conditions import checked_conditions, meets
from skylift.localcloud.elb.requests import HttpRequest, read_head
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit


def request(target: str = "/a/b?x=1&y=Two", method: str = "GET", source: str = "127.0.0.1", **headers: str) -> Any:
    named = {"host": "App.Example.com:8080", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HttpRequest(method, target, "HTTP/1.1", tuple(named.items()), source)


def condition(field: str, *values: Any, **more: Any) -> dict[str, Any]:
    member = "".join(word.capitalize() for word in field.split("-")) + "Config"
    return {"Field": field, member: {"Values": list(values), **more}}


@pytest.mark.parametrize(
    ("wanted", "is_met"),
    [
        (condition("host-header", "app.example.com"), True),
        (condition("host-header", "*.EXAMPLE.com"), True),
        (condition("host-header", "ap?.example.*"), True),
        (condition("host-header", "example.com"), False),
        ({"Field": "host-header", "Values": ["other.com", "app.*"]}, True),
        (condition("path-pattern", "/a/*"), True),
        (condition("path-pattern", "/A/*"), False),
        (condition("path-pattern", "/a"), False),
        (condition("path-pattern", "/?/b"), True),
        ({"Field": "path-pattern", "Values": ["/a/b"]}, True),
        (condition("http-header", "*Firefox*", HttpHeaderName="User-Agent"), True),
        (condition("http-header", "*", HttpHeaderName="X-None"), False),
        (condition("http-request-method", "POST", "GET"), True),
        (condition("http-request-method", "POST"), False),
        (condition("query-string", {"Key": "X", "Value": "1"}), True),
        (condition("query-string", {"Value": "two"}), True),
        (condition("query-string", {"Key": "x", "Value": "2"}, {"Key": "z", "Value": "*"}), False),
        (condition("source-ip", "10.0.0.0/8", "127.0.0.0/8"), True),
        (condition("source-ip", "10.0.0.0/8", "2001:db8::/32"), False),
    ],
)
def test_which_request_meets_which_condition(wanted: dict[str, Any], is_met: bool) -> None:
    shown = checked_conditions([wanted])
    assert meets(shown, request(user_agent="Mozilla Firefox 1")) is is_met


def test_a_star_can_stand_for_itself() -> None:
    shown = checked_conditions([condition("query-string", {"Key": "q", "Value": r"a\*b*"})])
    assert meets(shown, request("/?q=a*bc"))
    assert not meets(shown, request("/?q=axbc"))


@pytest.mark.parametrize(
    ("text", "found", "fits"),
    [
        ("*", "", True),
        ("?", "", False),
        ("**", "a", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*ab*ab", "ab", False),
        ("*ab*ab", "abxab", True),
        ("*a?c*", "xxabcxx", True),
        ("a*b*c", "abcbc", True),
        ("a*b*c", "acb", False),
        ("*x*y*z*", "w" * 60_000 + "x", False),
    ],
)
def test_stars(text: str, found: str, fits: bool) -> None:
    shown = checked_conditions([condition("http-header", text, HttpHeaderName="h")])
    assert meets(shown, request(h=found)) is fits


def test_all_conditions_must_be_met() -> None:
    shown = checked_conditions([condition("path-pattern", "/a/*"), condition("http-request-method", "PUT")])
    assert meets(shown, request(method="PUT"))
    assert not meets(shown, request())


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([], "A condition must be specified"),
        ([{"Field": "colour", "Values": ["red"]}], "Condition field 'colour' must be one of '[host-header"),
        ([condition("host-header")], "A value must be specified"),
        ([condition("host-header", "a b")], "not valid"),
        ([condition("host-header", "x" * 129)], "too long"),
        ([condition("http-header", "x", HttpHeaderName="bad name")], "header name"),
        ([condition("http-request-method", "get")], "not valid"),
        ([condition("source-ip", "everywhere")], "CIDR"),
        ([condition("query-string", {"Key": "k"})], "1 to 128"),
        ([{"Field": "source-ip", "Values": ["10.0.0.0/8"]}], "there only"),
        ([{**condition("host-header", "a.b"), "Values": ["a.b"]}], "there only"),
        ([condition("path-pattern", "/a"), condition("path-pattern", "/b")], "can only have one 'path-pattern'"),
        ([condition("path-pattern", *"abcdef")], "A rule can only have '5' condition values"),
        ([condition("path-pattern", "*?*", "*?*", "*")], "A rule can only have '6' condition wildcards"),
        ([{"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["a"]}}], "Regular expressions"),
    ],
)
def test_conditions_that_are_refused(wanted: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(AwsError) as caught:
        checked_conditions(wanted)
    assert words in caught.value.message


FORWARD = {"Type": "forward", "TargetGroupArn": "g"}
FIXED = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}


def redirect(code: str = "HTTP_301", **config: str) -> dict[str, Any]:
    return {"Type": "redirect", "RedirectConfig": {"StatusCode": code, **config}}


def forward(*groups: tuple[str, int]) -> dict[str, Any]:
    listed = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in groups]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": listed}}


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        ([], "ValidationError"),
        ([FORWARD, FIXED], "InvalidLoadBalancerAction"),
        ([{"Type": "authenticate-oidc"}, FORWARD], "InvalidConfigurationRequest"),
        ([{"Type": "forward"}], "ValidationError"),
        ([{**forward(("a", 1)), "TargetGroupArn": "b"}], "ValidationError"),
        ([forward(("a", 1), ("a", 2))], "ValidationError"),
        ([forward(("a", 1000))], "ValidationError"),
        ([forward(*((str(number), 1) for number in range(6)))], "TooManyTargetGroups"),
        ([{"Type": "redirect"}], "ValidationError"),
        ([redirect()], "ValidationError"),
        ([redirect(Query="only=this")], "ValidationError"),
        ([redirect(Port="0")], "ValidationError"),
        ([redirect(Path="no/slash")], "ValidationError"),
        ([redirect(Host="a\r\nb")], "ValidationError"),
        ([{**FIXED, "FixedResponseConfig": {"StatusCode": "200", "ContentType": "image/png"}}], "ValidationError"),
    ],
)
def test_actions_that_are_refused(actions: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(AwsError) as caught:
        checked_actions(actions, "application")
    assert caught.value.code == code


def test_a_network_load_balancer_only_forwards() -> None:
    assert checked_actions([FORWARD], "network") == [FORWARD]
    for one in (FIXED, redirect(Port="443")):
        with pytest.raises(AwsError, match="InvalidLoadBalancerAction"):
            checked_actions([one], "network")


@pytest.mark.parametrize(
    ("config", "location"),
    [
        ({"Protocol": "HTTPS", "Port": "443"}, "https://App.Example.com:443/a/b?x=1&y=Two"),
        ({"Host": "new.#{host}", "Path": "/v2/#{path}"}, "http://new.App.Example.com:80/v2/a/b?x=1&y=Two"),
        ({"Path": "/", "Query": "was=#{path}&#{query}"}, "http://App.Example.com:80/?was=a/b&x=1&y=Two"),
        ({"Path": "/#{port}/#{protocol}", "Query": ""}, "http://App.Example.com:80/80/http"),
    ],
)
def test_where_a_redirect_leads(config: dict[str, str], location: str) -> None:
    (action,) = checked_actions([redirect("HTTP_302", **config)], "application")
    head = answer_of(action, request(), 80, "127.66.1.1").decode().split("\r\n")
    assert head[0] == "HTTP/1.1 302 Found"
    assert f"Location: {location}" in head


def test_a_head_request_gets_no_body() -> None:
    config = {"StatusCode": "503", "MessageBody": '{"no": 1}', "ContentType": "application/json"}
    action = {"Type": "fixed-response", "FixedResponseConfig": config}
    answers = [answer_of(action, request(method=method), 80, "").decode() for method in ("GET", "HEAD")]
    assert answers[0] == answers[1] + '{"no": 1}'
    assert "Content-Length: 9\r\n" in answers[1]
    assert answers[1].startswith("HTTP/1.1 503 Service Unavailable\r\n")


def test_what_is_passed_on_to_a_target() -> None:
    sent = b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nX-Forwarded-For: 1.2.3.4\r\nA:  b \r\n\r\n"
    read = read_head(sent, "127.0.0.9")
    assert read is not None
    assert read.passed_on(80).decode().split("\r\n") == [
        "POST /a HTTP/1.1",
        "Host: h",
        "A: b",
        "X-Forwarded-For: 1.2.3.4, 127.0.0.9",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 80",
        "Connection: close",
        "",
        "",
    ]
    upgrade = read_head(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "::1")
    assert upgrade is not None
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in upgrade.passed_on(80)
    assert b"close" not in upgrade.passed_on(80)


@pytest.mark.parametrize(
    "head", [b"", b"hello\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
def test_what_is_no_http_request(head: bytes) -> None:
    assert read_head(head, "127.0.0.1") is None


def test_a_request_as_to_a_proxy() -> None:
    found = read_head(b"GET http://h/a?b=c HTTP/1.1\r\n\r\n", "127.0.0.1")
    assert found is not None
    assert (found.path, found.query, found.host) == ("/a", "b=c", "")


def test_weights_are_kept_at_every_moment() -> None:
    shares = Shares()
    picked = [shares.pick("rule", {"a": 3, "b": 1, "none": 0}) for _ in range(8)]
    assert sorted(picked) == ["a"] * 6 + ["b"] * 2
    assert "b" in picked[:4]
    assert shares.pick("rule", {"a": 0}) == ""
