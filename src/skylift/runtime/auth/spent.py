"""Ids of tokens that must not be used again: one table in Airflow's database, so that all API servers agree.

Two uses: a token for signing in works once, and on Airflow 3.1 a session that was signed out is over.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from airflow import settings

_CREATE = "CREATE TABLE IF NOT EXISTS skylift_spent_token (id VARCHAR(64) PRIMARY KEY, until DOUBLE PRECISION NOT NULL)"
_FORGET = "DELETE FROM skylift_spent_token WHERE until < :now"
_SPEND = "INSERT INTO skylift_spent_token (id, until) VALUES (:id, :until) ON CONFLICT DO NOTHING"
_KNOWS = "SELECT 1 FROM skylift_spent_token WHERE id = :id"

KEEP_SECONDS = 60.0
"""How much longer than the token an id is kept: the clocks of two API servers may differ."""


class SpentTokens:
    """The table.

    Args:
        engine: SQLAlchemy's; Airflow's own if it is not given.
    """

    def __init__(self, engine: Any = None) -> None:
        self._engine = engine if engine is not None else settings.engine

    def spend(self, token_id: str, until: float) -> bool:
        """Records a token's id until it expires; whether this call was the first. One statement decides it, so of many
        calls at once exactly one is."""
        try:
            return self._spend(token_id, until)
        except DBAPIError:  # most likely the first use: there is no table yet
            self._make()
            return self._spend(token_id, until)

    def knows(self, token_id: str) -> bool:
        """Whether a token's id is recorded."""
        try:
            return self._find(token_id)
        except DBAPIError:
            self._make()
            return self._find(token_id)

    def _spend(self, token_id: str, until: float) -> bool:
        with self._engine.begin() as connection:
            connection.execute(text(_FORGET), {"now": time.time()})
            made = connection.execute(text(_SPEND), {"id": token_id, "until": until + KEEP_SECONDS})
            return bool(made.rowcount == 1)

    def _find(self, token_id: str) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(text(_KNOWS), {"id": token_id}).first() is not None

    def _make(self) -> None:
        try:
            with self._engine.begin() as connection:
                connection.execute(text(_CREATE))
        except DBAPIError:  # somebody else makes it at the same moment
            time.sleep(0.2)
