"""Cookies that a client has made up name no target, and break nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from skylift.localcloud.elb.requests import HttpRequest
from skylift.localcloud.elb.stickiness import Stickiness, sticky_group, sticky_target

GROUP, NOW = "arn:group", 1000.0
ACTION = {"ForwardConfig": {"TargetGroupStickinessConfig": {"Enabled": True}}}


def asked(value: str) -> HttpRequest:
    return HttpRequest("GET", "/", "HTTP/1.1", [("Cookie", f"AWSALB={value}; AWSALBTG={value}")], "127.0.0.1")


def written(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_what_the_load_balancer_wrote_is_read() -> None:
    request = asked(written({"group": GROUP, "target": ["127.0.0.1", 80], "until": NOW + 1}))
    assert sticky_target(request, GROUP, Stickiness(60), NOW) == ("127.0.0.1", 80)
    assert sticky_group(request, ACTION, NOW) == GROUP


@pytest.mark.parametrize(
    "value",
    [
        "",
        "=",
        "\xe9",
        "%%%",
        written([]),
        written("text"),
        written({"group": GROUP, "target": ["127.0.0.1", 80], "until": NOW - 1}),
        written({"group": GROUP, "target": ["127.0.0.1", 80], "until": "soon"}),
        written({"group": GROUP, "target": ["127.0.0.1", "x"], "until": 1e300}),
        written({"group": GROUP, "target": ["127.0.0.1", float("inf")], "until": 1e300}),
        written({"group": GROUP, "target": [None, 80], "until": 1e300}),
        written({"group": GROUP, "target": ["127.0.0.1", 80, 1], "until": 1e300}),
        written({"group": GROUP, "target": {}, "until": 1e300}),
        written({"group": ["x"], "target": ["127.0.0.1", 80], "until": 1e300}),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
    ],
)
def test_anything_else_names_no_target(value: str) -> None:
    request = asked(value)
    assert sticky_target(request, GROUP, Stickiness(60), NOW) is None
    assert isinstance(sticky_group(request, ACTION, NOW), str)
