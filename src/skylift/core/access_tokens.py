"""What control plane and API server agree on about sign-in tokens. Pure."""

from __future__ import annotations

import hashlib
from enum import StrEnum

ALGORITHM = "EdDSA"
"""Signed with a key that only the control plane has (Ed25519); what only verifies cannot make one."""

TOKEN_SECONDS = 60
"""How long a token is valid, as on MWAA."""

SESSION_SECONDS = 12 * 3600
"""How long a session lasts that a web token begins, as on MWAA."""

LONGEST_IDENTITY = 64
"""Characters of the name that Airflow shows (``AirflowIdentity``)."""


class TokenUse(StrEnum):
    """What a token is for; a token for one use is refused for the other."""

    WEB = "web"
    CLI = "cli"


def audience_of(environment: str, use: TokenUse) -> str:
    """The ``aud`` claim: for whom a token is."""
    return f"airflow:{environment}:{use}"


def identity_of(principal: str) -> str:
    """The name under which a principal is known in Airflow: ``user/anna``, ``assumed-role/Analyst/anna``.

    A name that is too long is a digest, as on MWAA.
    """
    name = principal.split(":", 5)[-1]
    return name if len(name) <= LONGEST_IDENTITY else hashlib.sha256(name.encode()).hexdigest()
