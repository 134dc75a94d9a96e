"""Calls Airflow's REST API on behalf of a caller of InvokeRestApi.

Signs in as anybody does, with a web token for the caller's role, and keeps the session: Airflow itself checks what the
role may do. MWAA's limits are left out: 64 characters of path, ten calls a second, 6 MB of answer.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote, urlencode

from skylift.control.api.tokens import TokenSigner
from skylift.core.access_tokens import TokenUse
from skylift.core.roles import Role
from skylift.wire.errors import AwsError

API = "/api/v2"
"""All Airflow versions that we run have this one."""

LOGIN = "/aws_mwaa/login"
SECONDS = 60.0
MOST_SESSIONS = 1000

_JSON = "application/json"


@dataclass(frozen=True)
class Visitor:
    """Who comes into which environment, and with which role."""

    environment: str
    address: str
    identity: str
    role: Role


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def value(self) -> Any:
        """The JSON value, or the text if it is none."""
        if not self.body:
            return {}
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode(errors="replace")


class RestApi:
    """The calls, and the sessions that they use."""

    def __init__(self, signer: TokenSigner) -> None:
        self._signer = signer
        self._sessions: dict[Visitor, str] = {}
        self._lock = threading.Lock()

    def call(self, visitor: Visitor, request: Mapping[str, Any]) -> dict[str, Any]:
        """InvokeRestApi's answer.

        Raises:
            AwsError: Airflow refuses, fails or does not answer, or the path is none.
        """
        method, path = str(request["Method"]), _target(request)
        given = request.get("Body")
        body = json.dumps(given).encode() if given or method not in {"GET", "DELETE"} else None
        answer = self._send(visitor, method, path, body, self._session(visitor))
        if answer.status == 401:  # the session has expired, or the environment has other keys now
            self._forget(visitor)
            answer = self._send(visitor, method, path, body, self._session(visitor))
        if answer.status >= 400:
            raise _refusal(answer)
        return {"RestApiStatusCode": answer.status, "RestApiResponse": answer.value()}

    def _session(self, visitor: Visitor) -> str:
        with self._lock:
            if session := self._sessions.get(visitor):
                return session
        token = self._signer.token(TokenUse.WEB, visitor.environment, visitor.identity, visitor.role)
        form = urlencode({"token": token}).encode()
        answer = _exchange(visitor.address, "POST", LOGIN, form, {"Content-Type": "application/x-www-form-urlencoded"})
        cookie = SimpleCookie(answer.headers.get("set-cookie", "")).get("_token")
        if answer.status != 200 or cookie is None:
            found = answer.value()
            said = found.get("message", "") if isinstance(found, dict) else ""
            raise AwsError("ValidationException", said or f"Airflow's sign-in answers {answer.status}")
        with self._lock:
            if len(self._sessions) >= MOST_SESSIONS:
                self._sessions.clear()
            self._sessions[visitor] = cookie.value
        return cookie.value

    def _forget(self, visitor: Visitor) -> None:
        with self._lock:
            self._sessions.pop(visitor, None)

    def _send(self, visitor: Visitor, method: str, path: str, body: bytes | None, session: str) -> _Answer:
        headers = {"Authorization": f"Bearer {session}", "Accept": _JSON}
        if body is not None:
            headers["Content-Type"] = _JSON
        return _exchange(visitor.address, method, path, body, headers)


def _target(request: Mapping[str, Any]) -> str:
    path = str(request["Path"])
    if not path.startswith("/") or "?" in path or "#" in path:
        text = "Path must begin with / and have no version and no query, for example /dags. Use QueryParameters"
        raise AwsError("ValidationException", text)
    query = [
        (name, _text(one))
        for name, value in (request.get("QueryParameters") or {}).items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None
    ]
    # What is encoded already stays as it is.
    return quote(API + path, safe="/%:@!$&'()*+,;=~") + (f"?{urlencode(query)}" if query else "")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _exchange(address: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _Answer:
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    try:
        connection.connect()
    except OSError as error:
        raise AwsError("InternalServerException", f"The web server does not answer: {error}. Try again", 500) from error
    try:
        connection.request(method, path, body, dict(headers))
        got = connection.getresponse()
        return _Answer(got.status, got.headers, got.read())
    except (OSError, http.client.HTTPException) as error:
        # Not an internal error: SDKs repeat those, and Airflow may have done what it was asked for.
        members = {"RestApiStatusCode": 504, "RestApiResponse": {"detail": f"No answer from Airflow: {error}"}}
        raise AwsError("RestApiServerException", "Airflow has not answered", members=members) from error
    finally:
        connection.close()


def _refusal(answer: _Answer) -> AwsError:
    code = "RestApiClientException" if answer.status < 500 else "RestApiServerException"
    value = answer.value()
    response = value if isinstance(value, dict) else {"detail": value}
    detail = response.get("detail") or response
    text = f"Airflow answers {answer.status}: {detail}"
    return AwsError(code, text, members={"RestApiStatusCode": answer.status, "RestApiResponse": response})
