"""What the command line shows while it waits comes from signed routes; a server that does not answer is no error."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from skylift.cli.connection import PROGRESS_ROUTE, connection
from skylift.cli.credentials import OWNER, ensure_credentials
from skylift.cli.home import Home
from skylift.cli.serving.health import send_json
from skylift.cli.serving.server import IMAGE, RunningServer, home_of
from skylift.control.api.routes import ProgressRoute
from skylift.control.plane import PROGRESS_ROUTE as SERVED
from skylift.core.errors import Refused
from skylift.wire.app import WireApp
from skylift.wire.asgi import Receive, Scope, Send
from skylift.wire.serve import serving
from skylift.wire.signing.keys import Key, StaticKeys

pytestmark = pytest.mark.local


def progress(name: str) -> dict[str, Any] | None:
    return {"name": name, "doing": "waiting for the scheduler"} if name == "mine & yours" else None


def planned(name: str) -> dict[str, Any] | None:
    step = {"verb": "put", "part": "service/scheduler", "why": "is absent"}
    return {"name": name, "status": "CREATING", "steps": [step]} if name == "mine & yours" else None


def test_progress_is_told_to_the_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    building = [""]

    async def image(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"image": building[0]})

    home = Home(tmp_path)
    home.prepare()
    owner = ensure_credentials(home, 1)
    keys = StaticKeys([Key(owner.access_key, owner.secret, OWNER)])
    cancelled: list[str] = []

    def cancel(name: str) -> dict[str, Any] | None:
        cancelled.extend([name] if progress(name) else [])
        return progress(name)

    routes = {PROGRESS_ROUTE: ProgressRoute({"": progress, "plan": planned}, PROGRESS_ROUTE, cancel), IMAGE: image}
    with serving(WireApp([], keys, signed_routes=routes)) as url:
        for path in (f"{PROGRESS_ROUTE}/mine", IMAGE):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url + path)
            assert refused.value.code == 403
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        port = int(url.rpartition(":")[2])
        here = connection(home, RunningServer(os.getpid(), 0, port, "1", str(tmp_path)))
        assert here.progress("mine & yours") == "waiting for the scheduler"
        assert here.progress("unknown") == ""
        assert here.plan("mine & yours") == planned("mine & yours")
        with pytest.raises(Refused, match="unknown does not exist"):
            here.plan("unknown")
        here.cancel("mine & yours")
        assert cancelled == ["mine & yours"]
        with pytest.raises(Refused, match="unknown does not exist"):
            here.cancel("unknown")
        building[0] = "skylift/airflow:3.3.2: downloading"
        assert here.progress("mine & yours") == "building image skylift/airflow:3.3.2: downloading"
    begun = time.monotonic()
    assert here.progress("mine & yours") == ""
    assert time.monotonic() - begun < 5


def test_the_two_names_of_the_route_are_one() -> None:
    assert PROGRESS_ROUTE == SERVED


def test_a_servers_home_is_its_working_folder_if_that_is_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_of(os.getpid()) == ""
    (tmp_path / "server.json").touch()
    assert home_of(os.getpid()) == str(tmp_path)
    assert home_of(2**22 + 1) == ""
