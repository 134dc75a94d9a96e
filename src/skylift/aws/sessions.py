"""boto3 sessions that fetch their credentials again regularly, so that a rotated key or role needs no restart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError

LIFE = 900.0
"""Seconds for which fetched credentials are used at most, whatever they say themselves."""

RETRY = 5.0
"""After a failed fetch, the next is not tried for this many seconds: whoever needs credentials gets the same error at
once."""

FRESH = 300.0
"""After this many seconds one call fetches them again. If that fails before ``LIFE`` is over, the old ones stay in
use."""


def following(
    fetch: Callable[[], Any],
    region: str | None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    life: float = LIFE,
    fresh: float = FRESH,
    core: Any = None,
    source: str = "Airflow connection",
) -> Any:
    """A session that asks for its credentials, the first time when a call needs them.

    Args:
        fetch: botocore's ``Credentials`` or ``None``; may raise anything, which the call sees as an error of
            botocore's.
        region: of its clients; ``None`` as AWS's own settings say.
        now: the time.
        core: the session of botocore's to use; ``None``: a new one.
        source: where they come from, for errors.
    """
    failed: list[tuple[datetime, Exception]] = []

    # botocore calls it under its own lock, one thread at a time.
    def refreshed() -> dict[str, str | None]:
        if failed and now() < failed[0][0] + timedelta(seconds=RETRY):
            raise failed[0][1]
        failed.clear()
        try:
            frozen = _frozen(fetch, source)
        except Exception as error:
            failed.append((now(), error))
            raise
        expiry = now() + timedelta(seconds=life)
        return {
            "access_key": frozen.access_key,
            "secret_key": frozen.secret_key,
            "token": frozen.token,
            "expiry_time": expiry.isoformat(),
        }

    credentials = DeferredRefreshableCredentials(refreshed, "airflow-connection", time_fetcher=now)
    credentials._advisory_refresh_timeout = life - fresh
    credentials._mandatory_refresh_timeout = 1
    session = core or botocore.session.Session()
    session._credentials = credentials
    return boto3.Session(botocore_session=session, region_name=region)


def patient(said: Any) -> Any:
    """botocore's settings for a call that others wait for: it ends within half a minute, where ``said`` says nothing
    else."""
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
    return config.merge(said) if said else config


def _frozen(fetch: Callable[[], Any], source: str) -> Any:
    try:
        found = fetch()
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()
    except (NoCredentialsError, CredentialRetrievalError, ClientError):
        raise
    except Exception as error:
        # A database, a secrets backend or an STS that does not answer: whoever called AWS waits, as for AWS itself.
        raise CredentialRetrievalError(provider=source, error_msg=str(error)) from error
