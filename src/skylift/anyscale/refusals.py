"""What Anyscale's answers mean, and what to do about each."""

from __future__ import annotations

import json
from typing import Any

from skylift.core.errors import Refused, Unavailable

_TEXT_CHARACTERS = 500
_REDIRECTED = "It leads elsewhere. Is the connection's host right: https, and no path behind it?"
_ADVICE = {
    301: _REDIRECTED,
    302: _REDIRECTED,
    307: _REDIRECTED,
    308: _REDIRECTED,
    400: "Change what it names.",
    401: "Anyscale does not know this API key. Make a new one (console, API Keys) and put it into the connection.",
    403: "This API key may not do that. Ask an administrator of Anyscale for the permission, or use another key.",
    404: "Anyscale does not have it, or this API key must not see it. Look at the name, cloud and project.",
    409: "Somebody else changes it at the moment, or it exists already.",
    422: "Anyscale does not take these values; it names them.",
}

_STRANGE = (
    "Is the connection's host Anyscale's console? Otherwise its API has changed, and this version of skylift does not "
    "know it."
)


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


def required(answer: Any, name: str, doing: str) -> Any:
    """A member of an answer that must be there. Raises ``AnyscaleRefused``."""
    found = answer.get(name) if isinstance(answer, dict) else None
    if found is None or found == "":
        raise AnyscaleRefused(f"Anyscale's answer to {doing} has no {name}. {_STRANGE}")
    return found


def records(answer: Any, doing: str) -> list[dict[str, Any]]:
    """An answer that must be a list of objects. Raises ``AnyscaleRefused``."""
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise AnyscaleRefused(f"Anyscale's answer to {doing} is no list. {_STRANGE}")
    return answer


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
