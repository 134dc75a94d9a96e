"""Access keys: what they are, where they are found, and session keys that validate themselves.

``DerivedKeys`` stores nothing: the session token says for whom and until when, and everything else follows from it and
one master secret by HMAC. Any process that has the master secret can check such keys, even after a restart.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from skylift.core.clock import Clock

LEAST_MASTER_BYTES = 32
_MAC_BYTES = 32
_MOST_TOKEN_CHARACTERS = 4096
_REMEMBERED = 512
"""Tokens that need not be derived again: a container shows its own with each request."""


@dataclass(frozen=True)
class Key:
    """One access key.

    Attributes:
        access_key: its id, e.g. ``ASIA...``; not secret.
        secret: signs requests; never shown by ``repr``.
        principal: ARN of whom it stands for.
        session_token: sent beside the id; empty for keys of users.
        expires: seconds since the epoch; ``None`` = never.
    """

    access_key: str
    secret: str = field(repr=False)
    principal: str
    session_token: str = field(default="", repr=False)
    expires: float | None = None


class Keyring(Protocol):
    """Finds keys."""

    def find(self, access_key: str, session_token: str) -> Key | None:
        """The key of that id and token; ``None`` if there is none. An expired key is found: the caller looks at
        ``expires``."""
        ...


class StaticKeys:
    """Keys that are simply listed, e.g. the user's, from ``aws/credentials``."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.access_key: key for key in keys}

    def find(self, access_key: str, session_token: str) -> Key | None:
        """The listed key, if the token is its own."""
        key = self._keys.get(access_key)
        return key if key is not None and _same(key.session_token, session_token) else None


class Keyrings:
    """Several keyrings as one: the first that knows the key."""

    def __init__(self, *keyrings: Keyring) -> None:
        self._keyrings = keyrings

    def find(self, access_key: str, session_token: str) -> Key | None:
        """The first match."""
        found = (keyring.find(access_key, session_token) for keyring in self._keyrings)
        return next((key for key in found if key is not None), None)


class DerivedKeys:
    """Session credentials that need no store.

    token = base64url(MAC || claims); id = ``ASIA`` + 80 bits of HMAC(master, token); secret = HMAC(master, token).
    """

    def __init__(self, master: bytes, clock: Clock) -> None:
        if len(master) < LEAST_MASTER_BYTES:
            raise ValueError(f"the master secret must have at least {LEAST_MASTER_BYTES} bytes")
        self._master = master
        self._clock = clock
        self._found = lru_cache(maxsize=_REMEMBERED)(self._derived)

    def issue(self, principal: str, seconds: float) -> Key:
        """New credentials for a principal (ARN), good for so many seconds."""
        expires = self._clock() + seconds
        claims = json.dumps([principal, expires, secrets.token_hex(8)], separators=(",", ":")).encode()
        token = base64.urlsafe_b64encode(self._mac(b"token", claims) + claims).decode()
        return self._key(token, principal, expires)

    def find(self, access_key: str, session_token: str) -> Key | None:
        """The key, if we issued this token and the id belongs to it."""
        return self._found(access_key, session_token)

    def _derived(self, access_key: str, session_token: str) -> Key | None:
        if not session_token or len(session_token) > _MOST_TOKEN_CHARACTERS:
            return None
        try:
            raw = base64.b64decode(session_token.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        mac, claims = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(b"token", claims)):
            return None
        principal, expires, _ = json.loads(claims)
        key = self._key(session_token, principal, expires)
        return key if _same(key.access_key, access_key) else None

    def _key(self, token: str, principal: str, expires: float) -> Key:
        identity = base64.b32encode(self._mac(b"id", token.encode())[:10]).decode()
        secret = base64.b64encode(self._mac(b"secret", token.encode())[:30]).decode()
        return Key(f"ASIA{identity}", secret, principal, token, expires)

    def _mac(self, purpose: bytes, text: bytes) -> bytes:
        return hmac.digest(self._master, purpose + b"\0" + text, "sha256")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
