"""Signs the tokens with which people and programs sign in to an environment. Nobody else has the key.

An API server knows only the public key: code that runs in an environment can check tokens, and make none.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skylift.aws.secrets import SecretsManager
from skylift.core.access_tokens import ALGORITHM, TOKEN_SECONDS, TokenUse, audience_of
from skylift.core.clock import Clock
from skylift.core.errors import Unavailable
from skylift.core.roles import Role

KEY_SECRET = "skylift/token-key"  # noqa: S105 - the secret's name
"""Secret with the private key: 32 bytes in URL-safe base64. Deleting it makes a new key: API servers restart for it."""


class TokenSigner:
    """Makes tokens. The key is read each time, so that a new one counts at once."""

    def __init__(self, store: SecretsManager, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def make_key(self) -> None:
        """Makes the key, unless there is one."""
        self._store.make_text(KEY_SECRET, _text(secrets.token_bytes(32)))

    def public_key(self) -> str:
        """The public key, 32 bytes in URL-safe base64; empty if there is no key yet."""
        key = self._key()
        return _text(key.public_key().public_bytes_raw()) if key else ""

    def token(self, use: TokenUse, environment: str, identity: str, role: Role) -> str:
        """A token that lets an identity into an environment with a role: once, within 60 seconds.

        Raises:
            Unavailable: there is no key yet.
        """
        key = self._key()
        if key is None:
            raise Unavailable(f"the secret {KEY_SECRET} is not there yet")
        now = int(self._clock())
        claims = {
            "aud": audience_of(environment, use),
            "sub": identity,
            "role": str(role),
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": secrets.token_urlsafe(24),
        }
        signed = f"{_part({'alg': ALGORITHM, 'typ': 'JWT'})}.{_part(claims)}"
        return f"{signed}.{_text(key.sign(signed.encode())).rstrip('=')}"

    def _key(self) -> Ed25519PrivateKey | None:
        found = self._store.read_text(KEY_SECRET)
        return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(found.text)) if found else None


def _part(value: Mapping[str, object]) -> str:
    return _text(json.dumps(value, separators=(",", ":")).encode()).rstrip("=")


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()
