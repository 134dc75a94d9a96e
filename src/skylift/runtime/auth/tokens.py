"""Reads the tokens with which people and programs sign in. Only the control plane can make one; here is its public key.

A token is a signed text (JWS, Ed25519) with who, which role, which environment and when it ends. It works once.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from skylift.core.access_tokens import ALGORITHM, TokenUse, audience_of
from skylift.core.clock import Clock
from skylift.core.errors import Refused
from skylift.core.roles import Role

EXPIRED = "This sign-in token has expired: it is valid for 60 seconds. Ask for another."
USED = "This sign-in token was used before: it works once. Ask for another."
NOT_OURS = "This is not a valid sign-in token of this environment. Ask for another."


class Spending(Protocol):
    """Where used tokens are recorded (``SpentTokens``)."""

    def spend(self, token_id: str, until: float) -> bool: ...


@dataclass(frozen=True)
class Entry:
    """What a token that was accepted says: who comes in, with which role."""

    identity: str
    role: Role


class TokenReader:
    """Accepts each token once.

    Args:
        public_key: of the control plane: 32 bytes in URL-safe base64.
        environment: name of the environment; tokens for others are refused.
    """

    def __init__(self, public_key: str, environment: str, spent: Spending, clock: Clock) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(public_key))
        self._environment = environment
        self._spent = spent
        self._clock = clock

    def accept(self, token: str, use: TokenUse) -> Entry:
        """Who a token lets in. It cannot be used again.

        Raises:
            Refused: it is not one of ours, for another use or environment, has expired, or was used before.
        """
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=audience_of(self._environment, use),
                # Its time is checked below, by our clock.
                options={"require": ["exp", "jti", "sub", "role", "aud"], "verify_exp": False, "verify_iat": False},
            )
            until, token_id, entry = float(claims["exp"]), str(claims["jti"]), _entry(claims)
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise Refused(NOT_OURS) from error
        if until <= self._clock():
            raise Refused(EXPIRED)
        if not self._spent.spend(token_id, until):
            raise Refused(USED)
        return entry


def _entry(claims: dict[str, object]) -> Entry:
    return Entry(str(claims["sub"]), Role(str(claims["role"])))
