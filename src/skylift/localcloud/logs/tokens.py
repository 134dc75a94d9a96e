"""Tokens of pages and ids of events: a place in the order of all events, written down. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from skylift.localcloud.logs.batches import START, Place
from skylift.localcloud.logs.put_rules import invalid
from skylift.wire.errors import AwsError

_DIGITS = (18, 22, 16)
_LONG = sum(_DIGITS)


def digits_of(place: Place) -> str:
    """56 digits, as AWS's ids have; in their order."""
    return "".join(f"{value + 1:0{width}d}" for value, width in zip(place, _DIGITS, strict=True))


def place_of(digits: str) -> Place | None:
    """What ``digits_of`` wrote down; ``None``: it did not."""
    if len(digits) != _LONG or not (digits.isascii() and digits.isdigit()):
        return None
    values, begin = list[int](), 0
    for width in _DIGITS:
        values.append(int(digits[begin : begin + width]) - 1)
        begin += width
    return Place(*values)


def forward_token(place: Place) -> str:
    """GetLogEvents: what comes after a place."""
    return f"f/{digits_of(place)}/s"


def backward_token(place: Place) -> str:
    """GetLogEvents: what comes before a place."""
    return f"b/{digits_of(place)}/s"


def stream_token(token: str) -> tuple[bool, Place]:
    """Whether a token of GetLogEvents goes forward, and its place. Raises ``AwsError``."""
    way, _, rest = token.partition("/")
    place = place_of(rest.removesuffix("/s"))
    if way not in {"f", "b"} or not rest.endswith("/s") or place is None:
        raise invalid_token()
    return way == "f", place


def page_token(words: Mapping[str, Any], question: Any) -> str:
    """A token that only the same question may bring back."""
    text = json.dumps({**words, "of": _digest(question)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def page_words(token: str, question: Any) -> dict[str, Any]:
    """What ``page_token`` was given. Raises ``AwsError``: it is of another question, or no token."""
    try:
        words: Any = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        words = None
    if not isinstance(words, dict) or words.pop("of", None) != _digest(question):
        raise invalid_token()
    return words


def place_token(place: Place, question: Any) -> str:
    """FilterLogEvents: where the next page begins."""
    return page_token({"place": digits_of(place)}, question)


def token_place(token: str | None, question: Any) -> Place:
    """Where a page begins."""
    place = place_of(str(page_words(token, question).get("place"))) if token is not None else START
    if place is None:
        raise invalid_token()
    return place


def invalid_token() -> AwsError:
    """The error for a token that is none."""
    return invalid("The specified nextToken is invalid.")


def _digest(question: Any) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()[:12]
