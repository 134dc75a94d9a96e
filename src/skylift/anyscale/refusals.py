"""What Anyscale's answers mean, and what to do about each."""

from __future__ import annotations

import json

from skylift.core.errors import Refused, Unavailable

_TEXT_CHARACTERS = 500
_ADVICE = {
    400: "Change what it names.",
    401: "Anyscale does not know this API key. Make a new one (console, API Keys) and put it into the connection.",
    403: "This API key may not do that. Ask an administrator of Anyscale for the permission, or use another key.",
    404: "Anyscale does not have it, or this API key must not see it. Look at the name, cloud and project.",
    409: "Somebody else changes it at the moment, or it exists already.",
    422: "Anyscale does not take these values; it names them.",
}


class AnyscaleRefused(Refused):
    """Anyscale refuses, and will refuse the same again.

    Attributes:
        status: HTTP's; 0 if nothing was sent.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class AnyscaleUnavailable(Unavailable):
    """Anyscale does not answer, or not now."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait
        self.throttled = wait > 0


def refusal(doing: str, status: int, body: bytes, retry_after: str = "") -> AnyscaleRefused | AnyscaleUnavailable:
    """The error for an answer that is none: what was tried, what Anyscale says, what to do."""
    said = _detail(body)
    text = f"Anyscale answered {status} to {doing}" + (f": {said}" if said else "")
    text = text.rstrip(".") + "."
    if status == 429:
        return AnyscaleUnavailable(f"{text} It asks us to slow down.", _seconds(retry_after))
    if status >= 500 or status == 408:
        return AnyscaleUnavailable(f"{text} That is Anyscale's own trouble, which usually passes.")
    return AnyscaleRefused(f"{text} {_ADVICE.get(status, 'Change the request.')}", status)


def silence(doing: str, host: str, seconds: float, cause: str) -> AnyscaleUnavailable:
    """The error for no answer at all."""
    return AnyscaleUnavailable(
        f"Anyscale at {host} did not answer {doing} within {seconds:.0f} s ({cause}). Look at the connection's host, "
        "at the way out of this network (NAT gateway, proxy, security group), and at Anyscale's status page."
    )


def _detail(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        found = json.loads(text)
    except ValueError:
        return "" if text.startswith("<") else text[:_TEXT_CHARACTERS]
    error = found.get("error", found) if isinstance(found, dict) else found
    detail = error.get("detail", error) if isinstance(error, dict) else error
    return (detail if isinstance(detail, str) else json.dumps(detail))[:_TEXT_CHARACTERS]


def _seconds(retry_after: str) -> float:
    try:
        return min(max(float(retry_after), 1.0), 120.0)
    except ValueError:
        return 5.0
