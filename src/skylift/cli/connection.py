"""A command's connection: the running server, and clients that talk only to it."""

from __future__ import annotations

import os
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from skylift.aws import signed
from skylift.aws.clients import client
from skylift.cli.environments import web_url
from skylift.cli.home import REGION, Home, aim, find_home
from skylift.cli.lock import holder
from skylift.cli.runs.airflow_api import AirflowApi
from skylift.cli.runs.patience import patiently
from skylift.cli.runs.sign_in import WebSignIn
from skylift.cli.serving.daemon import silent_text
from skylift.cli.serving.server import IMAGE, RunningServer, alive, recorded, running
from skylift.cli.terminal import seconds
from skylift.core.errors import Refused, Unavailable

T = TypeVar("T")

PROGRESS_ROUTE = "/_skylift/environments"
"""The control plane's route. Its own module is not imported here, because that takes 0.3 s."""

UNSEEN = "not looked at yet"
"""The condition of an environment that the control plane has not checked since it started."""

NOT_ANSWERING = "UI not answering"
PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Connection:
    """The server of a home, and clients for it."""

    home: Home
    server: RunningServer

    def client(self, service: str) -> Any:
        """A boto3 client with the owner's credentials."""
        return client(service, region=REGION)

    def progress(self, environment: str) -> str:
        """What is being done for an environment; empty if unknown. A first start mostly waits for its image."""
        if image := self.image_progress():
            return image
        return str(self._progress(environment).get("doing", ""))

    def status(self, environment: Mapping[str, Any]) -> str:
        """An environment's status for people: "AVAILABLE", "AVAILABLE (UI not answering, 3 restarts)".

        Args:
            environment: as GetEnvironment shows it.
        """
        condition = self.condition(environment)
        return f"{environment['Status']} ({condition})" if condition else str(environment["Status"])

    def looked_at(self, environment: str) -> bool:
        """Whether the control plane has checked an environment since it started."""
        return bool(self._progress(environment).get("condition") != UNSEEN)

    def condition(self, environment: Mapping[str, Any]) -> str:
        """What is wrong with an environment, in a few words; empty if nothing is, or if unknown.

        The control plane checks every 30 seconds; whether Airflow answers is checked now.

        Args:
            environment: as GetEnvironment shows it.
        """
        told = str(self._progress(str(environment["Name"])).get("condition", ""))
        if told not in {"", UNSEEN} or environment["Status"] != "AVAILABLE":
            return told
        try:
            AirflowApi(web_url(environment), timeout=PROBE_SECONDS).unhealthy()
        except (Refused, Unavailable):
            return NOT_ANSWERING
        return ""

    def replaced(self, environment: str) -> list[str]:
        """What was replaced in an environment since yesterday because it ended or hung, a sentence each with its time,
        oldest first."""
        day = time.time() - 86400
        told = [one for one in self._progress(environment).get("told", ()) if one["at"] > day]
        return [
            f"{time.strftime('%H:%M:%S', time.localtime(one['at']))} {one['text']}"
            + (f" ({seconds(one['seconds'])})" if one["seconds"] is not None else "")
            for one in told
        ]

    def _progress(self, environment: str) -> Mapping[str, Any]:
        path = f"{PROGRESS_ROUTE}/{urllib.parse.quote(environment)}"
        try:
            found: Mapping[str, Any] = signed.call("GET", path, region=REGION, timeout=5)
        except (Refused, Unavailable):
            return {}
        return found

    def cancel(self, environment: str) -> None:
        """Deletes an environment that is still being created. Errors as ``signed.call``."""
        signed.call("DELETE", f"{PROGRESS_ROUTE}/{urllib.parse.quote(environment)}", region=REGION, timeout=60)

    def ask(self, look: Callable[[], T], say: Callable[[str], None], what: str) -> T:
        """Like ``patiently``, but gives up when the server has ended.

        Raises:
            Refused: the server has ended.
        """

        def looked() -> T:
            try:
                return look()
            except Unavailable as error:
                if not alive(self.server):
                    raise Refused("skylift was stopped meanwhile. To go on with what it did: skylift up") from error
                raise

        return patiently(looked, say, what)

    def plan(self, environment: str) -> dict[str, Any]:
        """What the control plane would do next for an environment: name, status, condition, steps [{verb, part, why}].

        Raises:
            Refused, Unavailable: as ``signed.call``.
        """
        path = f"{PROGRESS_ROUTE}/{urllib.parse.quote(environment)}/plan"
        found: dict[str, Any] = signed.call("GET", path, region=REGION, timeout=60)
        return found

    def plan_update(self, environment: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """What an UpdateEnvironment request would do: name, status, changes, steps, untouched, restarts, notes.

        Raises:
            Refused, Unavailable: as ``signed.call``.
        """
        path = f"{PROGRESS_ROUTE}/{urllib.parse.quote(environment)}/plan"
        found: dict[str, Any] = signed.call("POST", path, dict(request), region=REGION, timeout=60)
        return found

    def events(self, environment: str) -> list[dict[str, Any]]:
        """What happened to environments of a name, oldest first: [{id, at, status, text, seconds}].

        Raises:
            Refused, Unavailable: as ``signed.call``.
        """
        path = f"{PROGRESS_ROUTE}/{urllib.parse.quote(environment)}/events"
        found: list[dict[str, Any]] = signed.call("GET", path, region=REGION, timeout=60)["events"]
        return found

    def image_progress(self) -> str:
        """The progress of an image build; empty if none is being built."""
        try:
            image = signed.call("GET", IMAGE, region=REGION, timeout=5).get("image")
        except (Refused, Unavailable):
            return ""
        return f"building image {image}" if image else ""

    def airflow(self, environment: dict[str, Any]) -> AirflowApi:
        """A client of an environment's Airflow, with the role that the owner's credentials give."""
        url = web_url(environment)
        if not url:
            raise Refused(
                f"The environment {environment['Name']} is {environment['Status']}: it has no web server yet."
            )
        return AirflowApi(url, WebSignIn(self.client("mwaa"), str(environment["Name"])).session)


def connect() -> Connection:
    """The connection to this home's running server. Raises ``Refused`` if none runs."""
    home = find_home(os.environ)
    server = running(home)
    if server is None and (left := recorded(home)) is not None and alive(left):
        raise Unavailable(silent_text(home))
    if server is None and holder(home) is not None:
        raise Unavailable(f"skylift is starting or stopping just now (home {home.folder}). See: skylift status")
    if server is None:
        raise Refused(f"skylift does not run here (home {home.folder}). Start it with: skylift up")
    return connection(home, server)


def connection(home: Home, server: RunningServer) -> Connection:
    """The connection to a known server; points this process's AWS settings at it."""
    aim(home, server.port)
    return Connection(home, server)
