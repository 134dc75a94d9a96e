"""A client of Airflow's REST API (``/api/v2``, Airflow 3), for the command line: DAGs, runs, task instances.

It uses the standard library's HTTP: there is one caller, the answers are small, and nothing must be installed.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.core.errors import Broken, Refused, Unavailable

SignIn = Callable[[], str]
"""Gets a bearer token of Airflow's API. Raises ``Refused`` or ``Unavailable``."""


class Conflict(Refused):
    """The object to create exists already."""


@dataclass(frozen=True)
class TaskLine:
    """One Airflow task instance as in the table. Times in seconds; ``None`` where it never happened."""

    task_id: str
    map_index: int
    state: str
    queued: datetime | None
    started: datetime | None
    duration: float | None
    try_number: int

    @property
    def start_delay(self) -> float | None:
        """Seconds from queued by the scheduler to running in its container."""
        if self.queued is None or self.started is None:
            return None
        return max(0.0, (self.started - self.queued).total_seconds())


class AirflowApi:
    """A client of one environment's API server. Signs in at the first call, and again when the session has expired.

    Args:
        url: of the API server; a bare host, as from MWAA, means plain http.
        sign_in: gets a bearer token; called whenever one is needed. ``None``: only what needs no sign-in.
        timeout: seconds for one call.
    """

    def __init__(self, url: str, sign_in: SignIn | None = None, timeout: float = 30.0) -> None:
        self._url = (url if "://" in url else f"http://{url}").rstrip("/")
        self._sign_in = sign_in
        self._timeout = timeout
        self._token = ""
        # Loopback addresses: a proxy of this machine could not reach them.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def unhealthy(self) -> list[str]:
        """Names of Airflow's components that are not healthy; needs no login.

        Raises:
            Unavailable: the API server does not answer yet.
        """
        found = self._send("GET", "/api/v2/monitor/health", None)
        return sorted(name for name, state in found.items() if (state or {}).get("status") not in {"healthy", None})

    def dags(self) -> dict[str, dict[str, Any]]:
        """All DAGs by id, with Airflow's members (``is_paused``, ``fileloc``, ``has_import_errors`` ...)."""
        return {dag["dag_id"]: dag for dag in self.pages("/api/v2/dags", "dags")}

    def import_errors(self) -> list[tuple[str, str]]:
        """File and traceback of each DAG file that cannot be imported."""
        found = self.pages("/api/v2/importErrors", "import_errors")
        return [(error["filename"], error["stack_trace"]) for error in found]

    def unpause(self, dag_id: str) -> None:
        """Lets the scheduler run a DAG."""
        self.call("PATCH", f"/api/v2/dags/{quoted(dag_id)}", {"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any], logical_date: datetime | None = None) -> str:
        """Starts a DAG run; returns its id. It can be repeated: if a run with this id exists already, nothing happens.

        Its logical date is now, as in Airflow's UI: templates with ``ds`` need one.
        """
        date = (logical_date or datetime.now(UTC)).isoformat()
        body = {"dag_run_id": run_id, "logical_date": date, "conf": conf}
        try:
            return str(self.call("POST", f"/api/v2/dags/{quoted(dag_id)}/dagRuns", body)["dag_run_id"])
        except Conflict:
            return run_id  # an earlier try got through, though its answer was lost

    def run_state(self, dag_id: str, run_id: str) -> str:
        """queued, running, success or failed."""
        return str(self.call("GET", f"/api/v2/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}")["state"])

    def run_times(self, dag_id: str, run_id: str) -> tuple[str, float]:
        """State of a run, and the seconds that it took (until now, while it runs)."""
        one = self.call("GET", f"/api/v2/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}")
        begun, ended = _when(one.get("start_date")), _when(one.get("end_date"))
        took = ((ended or datetime.now(UTC)) - begun).total_seconds() if begun else 0.0
        return str(one["state"]), took

    def runs(self, dag_id: str | None, state: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest runs, of one DAG or of all, with Airflow's members."""
        which = quoted(dag_id) if dag_id else "~"
        only = f"&state={state}" if state else ""
        answer = self.call("GET", f"/api/v2/dags/{which}/dagRuns?limit={limit}&order_by=-run_after{only}")
        found: list[dict[str, Any]] = answer["dag_runs"]
        return found

    def task_lines(self, dag_id: str, run_id: str) -> list[TaskLine]:
        """Every task instance of a run; mapped ones separately."""
        path = f"/api/v2/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}/taskInstances"
        return [_line(one) for one in self.pages(path, "task_instances")]

    def pools(self) -> dict[str, int]:
        """Slots of all pools."""
        return {one["name"]: one["slots"] for one in self.pages("/api/v2/pools", "pools")}

    def set_pool(self, name: str, slots: int, *, new: bool) -> None:
        """Makes a pool, or changes its slots."""
        if new:
            self.call("POST", "/api/v2/pools", {"name": name, "slots": slots})
        else:
            path = f"/api/v2/pools/{quoted(name)}?update_mask=slots"
            self.call("PATCH", path, {"pool": name, "slots": slots})

    def pages(self, path: str, member: str) -> list[dict[str, Any]]:
        """All of a list that Airflow gives in pages."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.call("GET", f"{path}?limit=100&offset={len(found)}")
            found += answer[member]
            if not answer[member] or len(found) >= answer["total_entries"]:
                return found

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call, signed in. Raises ``Refused`` or ``Unavailable``, ``Conflict`` for 409."""
        if not self._token:
            self._token = self._new_token(method, path)
        try:
            return self._send(method, path, body)
        except PermissionError:
            self._token = self._new_token(method, path)
        try:
            return self._send(method, path, body)
        except PermissionError as error:
            raise Refused(f"Airflow accepts no session for {method} {path}: {error}") from error

    def _new_token(self, method: str, path: str) -> str:
        if self._sign_in is None:
            raise Broken(f"{method} {path} needs a sign-in")
        return self._sign_in()

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is our own environment's
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                found = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise self._refusal(method, path, error) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            raise Unavailable(f"Airflow's API at {self._url} does not answer: {error}") from error
        if not isinstance(found, dict):
            raise Broken(f"Airflow's API answered {method} {path} with something that is not an object")
        return found

    def _refusal(self, method: str, path: str, error: urllib.error.HTTPError) -> Exception:
        try:
            said = error.read().decode(errors="replace")
        except (http.client.HTTPException, OSError):
            said = str(error.reason)
        if error.code == 401:
            return PermissionError(said)
        text = f"Airflow's API: {method} {path}: {error.code} {_detail(said)}"
        if error.code >= 500 or error.code in {408, 429}:
            return Unavailable(text)
        return Conflict(text) if error.code == 409 else Refused(text)


def _detail(said: str) -> str:
    try:
        found = json.loads(said)["detail"]
    except (ValueError, KeyError, TypeError):
        return said[:300]
    return found if isinstance(found, str) else json.dumps(found)[:300]


def _line(one: dict[str, Any]) -> TaskLine:
    return TaskLine(
        task_id=one["task_id"],
        map_index=one["map_index"],
        state=one["state"] or "none",
        queued=_when(one.get("queued_when")),
        started=_when(one.get("start_date")),
        duration=one.get("duration"),
        try_number=one.get("try_number", 0),
    )


def _when(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def quoted(text: str) -> str:
    """A part of a path of the API."""
    return urllib.parse.quote(text, safe="")
