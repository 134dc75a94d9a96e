"""The route for one environment: its state, its plan, its deletion, and the status of each answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from skylift.control.api.routes import ProgressRoute
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.unit
PREFIX = "/_skylift/environments"
KNOWN: dict[str, Any] = {"name": "flight", "status": "AVAILABLE"}


def told(what: str) -> Callable[[str], dict[str, Any] | None]:
    def tell(name: str) -> dict[str, Any] | None:
        if name == "away":
            raise Unavailable("no database at 127.0.0.1")
        if name == "busy":
            raise Refused("environment busy was changed at the same time; try again")
        return {"name": name, "told": what} if name in {"flight", "fl ight"} else None

    return tell


def asked(method: str, path: str, *, cancel: bool = True) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer."""
    route = ProgressRoute({"": told("progress"), "plan": told("plan")}, PREFIX, told("cancel") if cancel else None)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("a route without a body reads none")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(route({"method": method, "path": path}, receive, send))  # type: ignore[arg-type]
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"] == b"application/json"
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return int(sent[0]["status"]), json.loads(body)


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("GET", "/flight", "progress"),
        ("GET", "/flight/", "progress"),
        ("GET", "/flight/plan", "plan"),
        ("DELETE", "/flight", "cancel"),
    ],
)
def test_who_is_asked(method: str, path: str, what: str) -> None:
    assert asked(method, PREFIX + path) == (200, {"name": "flight", "told": what})


def test_a_name_comes_as_urls_write_it() -> None:
    assert asked("GET", f"{PREFIX}/fl%20ight/plan") == (200, {"name": "fl ight", "told": "plan"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nobody"), ("GET", "/flight/other"), ("POST", "/flight"), ("DELETE", "/flight/plan"), ("GET", "/")],
)
def test_what_is_not_there_is_not_found(method: str, path: str) -> None:
    status, said = asked(method, PREFIX + path)
    name = path.strip("/").partition("/")[0]
    assert (status, said) == (404, {"message": f"Environment with name {name} does not exist"})


def test_without_a_deletion_there_is_none() -> None:
    assert asked("DELETE", f"{PREFIX}/flight", cancel=False)[0] == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/{}"), ("GET", "/{}/plan"), ("DELETE", "/{}")])
def test_errors_say_who_can_act_and_no_address(method: str, path: str) -> None:
    message = "The control plane's database, or AWS, does not answer. Try again."
    assert asked(method, PREFIX + path.format("away")) == (503, {"message": message})
    changed = "environment busy was changed at the same time; try again"
    assert asked(method, PREFIX + path.format("busy")) == (409, {"message": changed})
