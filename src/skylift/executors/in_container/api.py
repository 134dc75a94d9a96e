"""Says in one line, and by the exit code, what is wrong if Airflow's API does not start a container's Airflow task.

The line says what was called and what happened. The executor adds what to do, for each code
(``skylift.executors.exit_words``). The source text goes into the container, like that of ``main.py``.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys

NOT_OURS, NEVER_BEGAN, UNREACHABLE, NOT_TLS, IS_TLS, NO_EXECUTION_API, NO_ACCESS, NOT_TRUSTED = (
    71,
    72,
    73,
    74,
    75,
    76,
    77,
    79,
)
NOT_WANTED = (404, 409, 410)


def api_fault(error: Exception) -> int:
    """The exit code for the result of the first call, and a line about it; ``NEVER_BEGAN`` if it was not the API."""
    response, names = getattr(error, "response", None), {kind.__name__ for kind in type(error).__mro__}
    code, what = NEVER_BEGAN, f"{type(error).__name__}: {error}"
    if response is not None:
        code = answered(response, getattr(error, "detail", None))
        what = f"it answered {response.status_code} {response.reason_phrase}"
    elif "RequestError" in names:
        code = unanswered(error)
    elif "ValidationError" in names or "JSONDecodeError" in names:
        code, what = NO_EXECUTION_API, "what it answered is not Airflow's"
    if code not in (NEVER_BEGAN, NOT_OURS):
        asked = getattr(response, "request", None) or getattr(error, "_request", None)
        url = f"{asked.method} {asked.url}" if asked is not None else "[core] execution_api_server_url"
        sys.stderr.write(f"Airflow's API does not start this Airflow task: {url}: {what}\n")
    return code


def answered(response, detail) -> int:  # type: ignore[no-untyped-def]  # httpx is not typed here
    """There was an answer. Airflow's own refusals give a reason in a dict; a proxy, a UI or another server does not."""
    status, text = response.status_code, ""
    with contextlib.suppress(Exception):
        text = response.read()[:2000].decode(errors="replace").lower()
    secure = str(response.headers.get("location", "")).startswith("https:")
    if (status == 400 and "https" in text) or (300 <= status < 400 and secure and response.url.scheme == "http"):
        return IS_TLS
    if status >= 500:
        return UNREACHABLE
    if status in (401, 403):
        return NO_ACCESS
    if status in NOT_WANTED and isinstance(detail, dict):
        # This container must not run the task instance, or not any more.
        return NOT_OURS
    return NO_EXECUTION_API if status in (404, 405) or status < 400 else NEVER_BEGAN


def unanswered(error) -> int:  # type: ignore[no-untyped-def]  # as above
    """There was no answer: says why."""
    text, one = "", error
    while one is not None and len(text) < 2000:
        text, one = text + repr(one).upper(), one.__cause__ or one.__context__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return NOT_TRUSTED
    if any(word in text for word in ("WRONG_VERSION_NUMBER", "RECORD LAYER", "RECORD_LAYER", "PACKET_LENGTH")):
        return NOT_TLS
    request = getattr(error, "_request", None)
    if type(error).__name__ in ("RemoteProtocolError", "ReadError") and request is not None:
        url = request.url
        if url.scheme == "http" and speaks_tls(url.host, url.port or 80):
            return IS_TLS
    return UNREACHABLE


def speaks_tls(host: str, port: int) -> bool:
    """Whether a server there does a TLS handshake, with whatever certificate."""
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError), socket.create_connection((host, port), 5) as plain:
        plain.settimeout(5)
        with careless.wrap_socket(plain, server_hostname=host):
            return True
    return False
