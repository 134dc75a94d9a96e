"""An API server of any Airflow version with our auth manager, and every role's attempt at everything it offers."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

from skylift.control.api.tokens import TokenSigner
from skylift.core.access_tokens import TokenUse
from skylift.core.roles import RANK, Role
from tests.unit.control.test_tokens import OneSecret

TRY = "/dags/x/dagRuns/r/taskInstances/t"
NOW = "2026-01-01T00:00:00Z"
V, U, OP, A = Role.VIEWER, Role.USER, Role.OP, Role.ADMIN
ACTIONS: tuple[tuple[Role, str, str, str], ...] = (
    (V, "GET", "/dags", ""),
    (V, "GET", "/dags/x", ""),
    (U, "PATCH", "/dags/x", '{"is_paused": true}'),
    (U, "DELETE", "/dags/x", ""),
    (V, "GET", "/dags/x/dagRuns", ""),
    (U, "POST", "/dags/x/dagRuns", '{"logical_date": null}'),
    (U, "PATCH", "/dags/x/dagRuns/r", '{"state": "failed"}'),
    (U, "DELETE", "/dags/x/dagRuns/r", ""),
    (U, "POST", "/dags/x/clearTaskInstances", '{"dry_run": false}'),
    (V, "GET", "/dags/x/dagRuns/r/taskInstances", ""),
    (U, "PATCH", TRY, '{"new_state": "failed"}'),
    (V, "GET", f"{TRY}/logs/1", ""),
    (V, "GET", f"{TRY}/xcomEntries", ""),
    (OP, "POST", f"{TRY}/xcomEntries", '{"key": "k", "value": 1}'),
    (V, "GET", "/dagSources/x", ""),
    (V, "GET", "/dags/x/dagVersions", ""),
    (V, "GET", "/dagWarnings", ""),
    (V, "GET", "/importErrors", ""),
    (V, "GET", "/dagStats", ""),
    (A, "GET", "/eventLogs", ""),
    (V, "GET", "/assets", ""),
    (V, "GET", "/assets/aliases", ""),
    (U, "POST", "/assets/1/materialize", ""),
    (OP, "DELETE", "/assets/1/queuedEvents", ""),
    (V, "GET", "/pools", ""),
    (OP, "POST", "/pools", '{"name": "p", "slots": 1}'),
    (OP, "PATCH", "/pools/p", '{"pool": "p", "slots": 2}'),
    (OP, "DELETE", "/pools/p", ""),
    (OP, "GET", "/connections", ""),
    (OP, "POST", "/connections", '{"connection_id": "c", "conn_type": "http"}'),
    (OP, "PATCH", "/connections/c", '{"connection_id": "c", "conn_type": "ftp"}'),
    (OP, "DELETE", "/connections/c", ""),
    (OP, "GET", "/variables", ""),
    (OP, "POST", "/variables", '{"key": "k", "value": "v"}'),
    (OP, "PATCH", "/variables/k", '{"key": "k", "value": "w"}'),
    (OP, "DELETE", "/variables/k", ""),
    (OP, "GET", "/config", ""),
    (OP, "GET", "/plugins", ""),
    (OP, "GET", "/providers", ""),
    (V, "GET", "/jobs", ""),
    (V, "GET", "/backfills?dag_id=x", ""),
    (U, "POST", "/backfills", f'{{"dag_id": "x", "from_date": "{NOW}", "to_date": "{NOW}"}}'),
    (V, "GET", "/ui/dags", ""),
    (V, "GET", f"/ui/dashboard/historical_metrics_data?start_date={NOW}", ""),
    (V, "GET", "/ui/dashboard/dag_stats", ""),
    (V, "GET", "/ui/dependencies", ""),
    (V, "GET", "/ui/grid/runs/x", ""),
    (V, "GET", "/ui/structure/structure_data?dag_id=x", ""),
)
"""The lowest role that may, method, path (of the API, or of the UI's own), body. What they name is not there: whoever
may gets 404 or the like."""

VIEWERS_MENU = {"Assets", "Dags", "Deadlines", "Docs", "Jobs"}
OPS_MENU = VIEWERS_MENU | {
    "Config",
    "Connections",
    "Plugins",
    "Pools",
    "Providers",
    "Required Actions",
    "Variables",
    "XComs",
}
MENU = {
    Role.PUBLIC: set[str](),
    Role.VIEWER: VIEWERS_MENU,
    Role.USER: VIEWERS_MENU,
    Role.OP: OPS_MENU,
    Role.ADMIN: OPS_MENU | {"Audit Log"},
}
"""What each role sees, as far as the version has it."""


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class AccessSite:
    """A running API server of the environment "flight", and the control plane that signs for it."""

    port: int
    signer: TokenSigner
    log: Path

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(
                method, path, body or None, {name.replace("_", "-"): one for name, one in headers.items()}
            )
            got = connection.getresponse()
            return Answer(got.status, got.headers, got.read())
        finally:
            connection.close()

    def token(self, role: Role, use: TokenUse = TokenUse.WEB, environment: str = "flight") -> str:
        return self.signer.token(use, environment, "user/anna", role)

    def login(self, token: str, path: str = "/aws_mwaa/login", **headers: str) -> Answer:
        form = urlencode({"token": token})
        return self.ask("POST", path, form, Content_Type="application/x-www-form-urlencoded", **headers)

    def session(self, role: Role) -> str:
        answer = self.login(self.token(role), "/pluginsv2/aws_mwaa/login")
        assert answer.status == 200, (answer.body, self.said())
        return SimpleCookie(answer.headers["set-cookie"])["_token"].value

    def try_action(self, session: str, method: str, path: str, body: str) -> int:
        whole = path if path.startswith("/ui/") else f"/api/v2{path}"
        return self.ask(method, whole, body, Authorization=f"Bearer {session}", Content_Type="application/json").status

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def access_site(venv: Path, home: Path, **added: str) -> Iterator[AccessSite]:
    """Starts it with a SQLite database, ends it. ``added`` are further variables of its environment."""
    home.mkdir(parents=True, exist_ok=True)
    signer = TokenSigner(OneSecret(), time.time)  # type: ignore[arg-type]
    signer.make_key()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW", "PYTHON", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": "skylift.runtime.auth.manager.SkyliftAuthManager",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API__EXPOSE_CONFIG": "True",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 5,
        "SKYLIFT_ENVIRONMENT": "flight",
        "SKYLIFT_TOKEN_KEY": signer.public_key(),
        **added,
    }
    airflow, log = venv / "bin" / "airflow", home / "api-server.log"
    subprocess.run([airflow, "db", "migrate"], env=environ, check=True, capture_output=True)
    with open(log, "wb") as output:
        words = [airflow, "api-server", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(words, env=environ, stdout=output, stderr=output, start_new_session=True)
    site = AccessSite(port, signer, log)
    try:
        _until_it_answers(site, process)
        yield site
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _until_it_answers(site: AccessSite, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, site.said()
        try:
            if site.ask("GET", "/api/v2/version").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise AssertionError(site.said())


def differences(site: AccessSite, role: Role) -> list[str]:
    """Where what a role may do is not as the table says."""
    session = site.session(role)
    found = []
    for lowest, method, path, body in ACTIONS:
        status = site.try_action(session, method, path, body)
        allowed = status not in {401, 403}
        if allowed is not (RANK[role] >= RANK[lowest]) or status >= 500:
            found.append(f"{role}: {method} {path}: {status}")
    return found
