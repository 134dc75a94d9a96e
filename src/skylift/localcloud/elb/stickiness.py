"""Sticky sessions: which target a client's cookies name, and the cookies that an answer gets. Pure.

Sources: "Edit target group attributes for your Application Load Balancer" (user guide: duration-based and
application-based stickiness); API reference 2015-12-01, TargetGroupAttribute and TargetGroupStickinessConfig. The value
of a cookie is ours: AWS encrypts its own, and nobody may read them. It names a target that its client may reach anyway,
so it is not signed.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.core.numbers import natural
from skylift.localcloud.elb.requests import HttpRequest, Target

NewCookies = Callable[[Target, bytes], bytes]
"""The target that answers, and the head of its answer, to the lines that are added to it."""

BY_TARGET, BY_APPLICATION, BY_GROUP = "AWSALB", "AWSALBAPP-0", "AWSALBTG"
RESERVED = ("AWSALB", "AWSALBAPP", "AWSALBTG")
ENABLED, KIND = "stickiness.enabled", "stickiness.type"
COOKIE_NAME = "stickiness.app_cookie.cookie_name"
DURATIONS = ("stickiness.lb_cookie.duration_seconds", "stickiness.app_cookie.duration_seconds")
MOST_SECONDS = 604_800
USUAL_SECONDS = 86_400
_COOKIE_SECONDS = 604_800
"""How long a client keeps a cookie of the load balancer; the stickiness itself may end earlier."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class Stickiness:
    """Of a target group.

    Attributes:
        seconds: how long a client stays with its target, from its last request.
        cookie: of the application, which must be there too; empty: no such condition.
    """

    seconds: int
    cookie: str = ""

    @property
    def name(self) -> str:
        """The load balancer's cookie."""
        return BY_APPLICATION if self.cookie else BY_TARGET


def stickiness_of(attributes: Mapping[str, str]) -> Stickiness | None:
    """That of a target group; ``None``: it has none."""
    if attributes.get(ENABLED) != "true":
        return None
    by_cookie = attributes.get(KIND) == "app_cookie"
    seconds = int(attributes.get(DURATIONS[by_cookie], USUAL_SECONDS))
    return Stickiness(seconds, attributes.get(COOKIE_NAME, "") if by_cookie else "")


def group_seconds(action: Mapping[str, Any]) -> int | None:
    """How long a client stays with its target group among several; ``None``: it does not."""
    config = action.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {})
    return int(config.get("DurationSeconds", 3600)) if config.get("Enabled") else None


def wrong_attribute(attributes: Mapping[str, str]) -> str:
    """What is wrong with a target group's stickiness, in words; empty: nothing."""
    if attributes.get(ENABLED, "false") not in {"true", "false"}:
        return f"The value of '{ENABLED}' must be 'true' or 'false'"
    if attributes.get(KIND, "lb_cookie") not in {"lb_cookie", "app_cookie"}:
        return f"The value of '{KIND}' must be 'lb_cookie' or 'app_cookie'"
    for name in DURATIONS:
        if not 1 <= (natural(attributes.get(name, "1")) or 0) <= MOST_SECONDS:
            return f"The value of '{name}' must be between 1 and {MOST_SECONDS}"
    cookie = attributes.get(COOKIE_NAME, "")
    if cookie.startswith(RESERVED) or (cookie and not _NAME.fullmatch(cookie)):
        return f"The cookie name '{cookie}' is not valid: the prefixes {', '.join(RESERVED)} are reserved"
    needed = attributes.get(ENABLED) == "true" and attributes.get(KIND) == "app_cookie"
    return (
        f"'{COOKIE_NAME}' must be specified for stickiness by an application's cookie" if needed and not cookie else ""
    )


def sticky_group(request: HttpRequest, action: Mapping[str, Any], now: float) -> str:
    """ARN of the target group that a client stays with; empty: none."""
    if group_seconds(action) is None:
        return ""
    found = _read(_cookies(request).get(BY_GROUP, ""), now)
    return str(found.get("group", ""))


def sticky_target(request: HttpRequest, group: str, sticky: Stickiness | None, now: float) -> Target | None:
    """The target of a group (ARN) that a client stays with."""
    if sticky is None:
        return None
    cookies = _cookies(request)
    found = _read(cookies.get(sticky.name, ""), now)
    if found.get("group") != group or (sticky.cookie and sticky.cookie not in cookies):
        return None
    match found.get("target"):
        case [str(address), int(port)]:
            return address, port
    return None


def new_cookies(
    group: str, sticky: Stickiness | None, group_duration: int | None, *, encrypted: bool, now: float
) -> NewCookies | None:
    """What makes the lines for an answer; ``None``: there are none to make.

    Args:
        group: ARN of the target group.
        sticky: that of the group.
        group_duration: seconds for which the client stays with the group; ``None``: it does not.
        encrypted: whether the client speaks TLS.
    """
    if sticky is None and group_duration is None:
        return None

    def lines(target: Target, head: bytes) -> bytes:
        made: list[str] = []
        if group_duration is not None:
            made += _lines(BY_GROUP, {"group": group, "until": now + group_duration}, now, encrypted=encrypted)
        if sticky is not None and (not sticky.cookie or _sets(head, sticky.cookie)):
            value = {"group": group, "target": list(target), "until": now + sticky.seconds}
            made += _lines(sticky.name, value, now, encrypted=encrypted)
        return "".join(made).encode()

    return lines


def _lines(name: str, value: Mapping[str, Any], now: float, *, encrypted: bool) -> Sequence[str]:
    """The cookie, and its twin for requests from other sites."""
    text = base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")
    expires = datetime.fromtimestamp(now + _COOKIE_SECONDS, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    base, number = name.partition("-")[::2]
    twin = f"{base}CORS-{number}" if number else f"{base}CORS"
    secure = "; Secure" if encrypted else ""
    return (
        f"Set-Cookie: {name}={text}; Expires={expires}; Path=/\r\n",
        f"Set-Cookie: {twin}={text}; Expires={expires}; Path=/; SameSite=None{secure}\r\n",
    )


def _read(value: str, now: float) -> Mapping[str, Any]:
    """What a cookie of ours says; nothing if it is another's, or too old."""
    try:
        found = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    until = found.get("until") if isinstance(found, dict) else None
    return found if isinstance(until, int | float) and until > now else {}


def _cookies(request: HttpRequest) -> dict[str, str]:
    """Of a request; the twin counts where the first is missing."""
    found: dict[str, str] = {}
    for line in request.values("cookie"):
        for pair in line.split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals:
                found.setdefault(name, value)
    for name, twin in ((BY_TARGET, "AWSALBCORS"), (BY_APPLICATION, "AWSALBAPPCORS-0"), (BY_GROUP, "AWSALBTGCORS")):
        if twin in found:
            found.setdefault(name, found[twin])
    return found


def _sets(head: bytes, cookie: str) -> bool:
    """Whether an answer sets a cookie."""
    pattern = rb"\r\nset-cookie:[ \t]*" + re.escape(cookie.encode()) + rb"="
    return re.search(pattern, head, re.IGNORECASE) is not None
