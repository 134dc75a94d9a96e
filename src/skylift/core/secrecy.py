"""Recognises secrets in people's settings and hides them as ``***``. Pure.

This is for what people read: terminals and logs. An API returns what it was given. It is better to hide one value too
many than one too few.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"

LEAST = 5
"""Characters of a value that is looked for in texts: shorter ones occur everywhere (Airflow's own
``min_length_masked_secret``)."""

_SECRET_NAME = re.compile(
    r"""
    passw | passphrase | (?<!hide_)secret(?!s_backend$) | token | credential | signature | basic_auth | authorization
    | (?:api|access|account|private|signing|encryption|shared|master|fernet|license)[_.-]?key | keyfile
    | sql_alchemy_(?:conn|engine_args|connect_args) | broker_url | result_backend | \bdsn\b | _dsn | webhook
    | conn(?:ection)?_?(?:uri|url|str|string)\b | ^airflow_conn_ | ^airflow__.*__sql_alchemy
    | (?:asset_manager|remote_task_handler|backend)_kwargs
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HARMLESS_NAME = re.compile(
    r"(?:_file|_path|_id|_ids|_names?|_fields|_seconds|_time|_timeout|_length"
    r"|_adapter|_arn|_enabled|_expiration|_ttl)$",
    re.IGNORECASE,
)
"""Ends of names that tell where a secret is, or something about it."""
_USER_OF_URL = re.compile(r"(?<=://)[^/?#\s\"'<>]+(?=@)")
_IN_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:passw|secret|token|signature|credential|api_?key)[\w.-]*|sig|key)=)([^&;#\s\"']+)", re.I
)
_KEYS = re.compile(
    r"""
    \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                                   # AWS
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*                             # a JWT
    | \b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abposr]-[\w-]{10,}|sk-[\w-]{20,}|npm_\w{30,})
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_DICE = re.compile(r"(?!/)(?:[0-9a-f]{32,}|(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+/_-]{32,}={0,2})")
"""A whole value that somebody rolled dice for: hexadecimal, or base64."""


def secret_name(name: str) -> bool:
    """Whether the value of an option, a variable or a JSON member of that name is secret."""
    key = name.rpartition(".")[2] or name
    return bool(_SECRET_NAME.search(key)) and not _HARMLESS_NAME.search(key)


def hide(name: str, value: str) -> str:
    """A setting's value as people may see it."""
    if not value or value == HIDDEN:
        return value
    if secret_name(name) or _DICE.fullmatch(value.strip()):
        return HIDDEN
    if value.lstrip()[:1] in ("{", "["):
        try:
            return json.dumps(_hide_json(json.loads(value)))
        except ValueError:
            pass
    return hide_in(value)


def hide_in(text: str, secrets: tuple[str, ...] = ()) -> str:
    """A text without the user and password of URLs, keys of well-known forms, and ``secrets`` (longest first)."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _USER_OF_URL.sub(HIDDEN, text)
    return _KEYS.sub(HIDDEN, _IN_QUERY.sub(rf"\1{HIDDEN}", text))


def quoted(name: str, value: str) -> str:
    """A wrong value as an error quotes it: ``'x'``, or ``its value`` if it may hold secrets that we cannot tell from
    the rest."""
    if value.lstrip()[:1] in ("{", "["):
        try:
            json.loads(value)
        except ValueError:
            return "its value"
    return repr(hide(name, value))


def hide_options(options: Mapping[str, str]) -> dict[str, str]:
    """Options as people may see them."""
    return {name: hide(name, value) for name, value in options.items()}


def secrets_of(options: Mapping[str, str]) -> tuple[str, ...]:
    """The texts that ``hide`` hides, to find them in other texts; longest first."""
    found = {text for name, value in options.items() for text in _secrets(name, value) if len(text) >= LEAST}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def _secrets(name: str, value: str) -> Iterator[str]:
    if hide(name, value) == value:
        return
    whole = hide(name, value) == HIDDEN
    if whole:
        yield value
    for match in _USER_OF_URL.findall(value):
        password = match.partition(":")[2] or match
        yield from (password, unquote(password))
    yield from _KEYS.findall(value)
    yield from (match[1] for match in _IN_QUERY.findall(value))
    if value.lstrip()[:1] in ("{", "["):
        try:
            yield from _json_secrets(json.loads(value), whole)
        except ValueError:
            return


def _hide_json(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        named = str(value.get("name", "")) if set(value) == {"name", "value"} else ""  # a variable, as ECS writes it
        return {key: _hide_json(one, named if named and key == "value" else str(key)) for key, one in value.items()}
    if isinstance(value, list):
        return [_hide_json(one, name) for one in value]
    if isinstance(value, str):
        return hide(name, value)
    return HIDDEN if secret_name(name) and value is not None and not isinstance(value, bool) else value


def _json_secrets(value: Any, whole: bool, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        named = str(value.get("name", "")) if set(value) == {"name", "value"} else ""
        for key, one in value.items():
            yield from _json_secrets(one, whole, named if named and key == "value" else str(key))
    elif isinstance(value, list):
        for one in value:
            yield from _json_secrets(one, whole, name)
    elif isinstance(value, str):
        yield from _secrets(name, value)
