"""Airflow's session of somebody who has signed in: its token, and its end."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.configuration import conf
from jwt import InvalidTokenError

from skylift.core.access_tokens import SESSION_SECONDS
from skylift.core.errors import Refused
from skylift.runtime.auth.manager import AIRFLOW_REVOKES, Person, SkyliftAuthManager, page
from skylift.runtime.auth.spent import SpentTokens
from skylift.runtime.auth.tokens import Entry

COOKIE = "_token"
"""Airflow's own name for it."""


def session_token(entry: Entry) -> str:
    """A session of twelve hours; also good as a bearer token of Airflow's API.

    Raises:
        Refused: this environment uses another auth manager, for which we make no sessions.
    """
    manager = get_auth_manager()
    if not isinstance(manager, SkyliftAuthManager):
        raise Refused(
            f"This environment uses {type(manager).__name__} (option core.auth_manager), which has its own sign-in: "
            "open Airflow's UI and sign in there."
        )
    person = Person(entry.identity, entry.role)
    return str(manager.generate_jwt(person, expiration_time_in_seconds=SESSION_SECONDS))


async def revoke(token: str) -> None:
    """Ends a session. One that is over already is no error."""
    manager = get_auth_manager()
    try:
        if AIRFLOW_REVOKES:
            await asyncio.to_thread(manager.revoke_token, token)
            return
        claims = await manager._get_token_validator().avalidated_claims(token)
    except InvalidTokenError:
        return
    await asyncio.to_thread(SpentTokens().spend, str(claims.get("jti", "")), float(claims["exp"]))


def has_fab() -> bool:
    """Whether this environment uses Airflow's FAB auth manager."""
    return "Fab" in type(get_auth_manager()).__name__


def root_path() -> str:
    """The path of Airflow's UI: where its cookie is valid."""
    return page("")


def is_secure(scheme: str) -> bool:
    """Whether browsers reach this API server by TLS."""
    return "https" in {scheme, urlsplit(conf.get("api", "base_url", fallback="")).scheme}
