"""The actions of listeners and rules: which AWS accepts, and the answers that a load balancer gives by itself.

Sources: Action, RedirectActionConfig, FixedResponseActionConfig in the API reference 2015-12-01; "Action types for
listener rules", user guide of Application Load Balancers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from skylift.core.numbers import natural
from skylift.localcloud.elb.requests import HttpRequest
from skylift.localcloud.elb.shapes import invalid, not_here
from skylift.localcloud.elb.stickiness import MOST_SECONDS
from skylift.localcloud.elb.store import weights_of
from skylift.wire.errors import AwsError

Action = Mapping[str, Any]

MOST_GROUPS, MOST_WEIGHT = 5, 999
CONTENT_TYPES = ("text/plain", "text/css", "text/html", "application/javascript", "application/json")
SAME = {"Protocol": "#{protocol}", "Port": "#{port}", "Host": "#{host}", "Path": "/#{path}", "Query": "#{query}"}
"""A redirect that changes nothing: the defaults."""
_WORD = re.compile(r"#\{[a-z]+\}")
_CONFIGS = {"redirect": "RedirectConfig", "fixed-response": "FixedResponseConfig"}
_SERVED = ("forward", *_CONFIGS)


def checked_actions(actions: Sequence[Action], kind: str) -> list[dict[str, Any]]:
    """The actions of a listener or rule as they are shown. Raises ``AwsError``: AWS, or the local cloud, does not
    accept them.

    Args:
        actions: of the request.
        kind: of the load balancer, ``application`` or ``network``.
    """
    if not actions:
        raise invalid("An action must be specified")
    for one in actions:
        if one["Type"] not in _SERVED:
            raise not_here(f"Actions of type '{one['Type']}' are not supported: use {', '.join(_SERVED)}")
    if len(actions) > 1:
        words = "exactly one of forward, redirect and fixed-response, and it must be the last action"
        raise AwsError("InvalidLoadBalancerAction", f"The actions must have {words}")
    return [_checked(actions[0], kind)]


def _checked(action: Action, kind: str) -> dict[str, Any]:
    if action["Type"] == "forward":
        _check_groups(action)
        return dict(action)
    if kind != "application":
        text = f"Actions of type '{action['Type']}' are only for application load balancers"
        raise AwsError("InvalidLoadBalancerAction", text)
    member = _CONFIGS[action["Type"]]
    config = action.get(member)
    if config is None:
        raise invalid(f"You must specify '{member}' for actions of type '{action['Type']}'")
    if action["Type"] == "fixed-response":
        if config.get("ContentType", CONTENT_TYPES[0]) not in CONTENT_TYPES:
            raise invalid(f"Content type '{config['ContentType']}' must be one of '[{', '.join(CONTENT_TYPES)}]'")
        return dict(action)
    config = {**SAME, **config}
    _check_redirect(config)
    return {**action, member: config}


def _check_groups(action: Action) -> None:
    weights = weights_of(action)
    config = action.get("ForwardConfig", {})
    if not weights:
        raise invalid("You must specify a target group for actions of type 'forward'")
    if len(weights) > MOST_GROUPS:
        raise AwsError("TooManyTargetGroups", f"A forward action can have at most {MOST_GROUPS} target groups")
    listed = [one.get("TargetGroupArn") for one in config.get("TargetGroups", ())]
    alone = action.get("TargetGroupArn")
    if len(set(listed)) != len(listed) or (alone and listed and listed != [alone]):
        raise invalid("The target groups of a forward action must be different, and 'TargetGroupArn' one of one")
    sticky = config.get("TargetGroupStickinessConfig", {})
    if sticky.get("Enabled") and not 1 <= sticky.get("DurationSeconds", 1) <= MOST_SECONDS:
        raise invalid(f"The duration of target group stickiness must be between 1 and {MOST_SECONDS} seconds")
    if any(not 0 <= weight <= MOST_WEIGHT for weight in weights.values()):
        raise invalid(f"The weight of a target group must be between 0 and {MOST_WEIGHT}")


def _check_redirect(config: Mapping[str, str]) -> None:
    port = config["Port"]
    if port != SAME["Port"] and not 1 <= (natural(port) or 0) <= 65535:
        raise invalid(f"The port '{port}' of a redirect must be in the range 1-65535, or '{SAME['Port']}'")
    if not all(config[name].isprintable() for name in SAME):
        raise invalid("A redirect must not have control characters")
    if not config["Path"].startswith("/"):
        raise invalid(f"The path '{config['Path']}' of a redirect must begin with '/'")
    if all(config[name] == SAME[name] for name in ("Protocol", "Port", "Host", "Path")):
        raise invalid("To avoid a redirect loop, you must change the protocol, port, host or path of a redirect")


def answer_of(action: Action, request: HttpRequest, port: int, address: str) -> bytes:
    """The answer to a request whose action is ``redirect`` or ``fixed-response``.

    Args:
        action: as ``checked_actions`` returns it.
        request: the request.
        port: of the listener.
        address: of the load balancer, for a request that names no host.
    """
    if action["Type"] == "fixed-response":
        config = action["FixedResponseConfig"]
        kind = config.get("ContentType", CONTENT_TYPES[0])
        return respond(request, int(config["StatusCode"]), config.get("MessageBody", ""), {"Content-Type": kind})
    config = action["RedirectConfig"]
    status = int(config["StatusCode"].removeprefix("HTTP_"))
    location = _location(config, request, port, address)
    return respond(request, status, _page(status), {"Location": location, "Content-Type": "text/html"})


def respond(request: HttpRequest | None, status: int, body: str, headers: Mapping[str, str] | None = None) -> bytes:
    """An answer of the load balancer's own, after which it closes the connection; to a HEAD request without body."""
    content = body.encode()
    told = {
        "Server": "awselb/2.0",
        **(headers or {"Content-Type": "text/html"}),
        "Content-Length": str(len(content)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    shown = b"" if request is not None and request.method == "HEAD" else content
    return "\r\n".join(lines).encode("latin-1", "replace") + shown


def bad_request() -> bytes:
    """The answer to what is no HTTP/1 request."""
    return respond(None, 400, _page(400))


def _location(config: Mapping[str, str], request: HttpRequest, port: int, address: str) -> str:
    words = {
        "#{protocol}": request.scheme,
        "#{host}": request.host or address,
        "#{port}": str(port),
        "#{path}": request.path.removeprefix("/"),
        "#{query}": request.query,
    }
    found = {name: _WORD.sub(lambda one: words.get(one[0], one[0]), config[name]) for name in SAME}
    query = f"?{found['Query']}" if found["Query"] else ""
    return f"{found['Protocol'].lower()}://{found['Host']}:{found['Port']}{found['Path']}{query}"


def _page(status: int) -> str:
    title = f"{status} {_phrase(status)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
