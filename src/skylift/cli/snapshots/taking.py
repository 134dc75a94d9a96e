"""Takes snapshots of an environment, and deletes those that its rule does not keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skylift.cli.connection import Connection
from skylift.cli.snapshots import store
from skylift.cli.snapshots.running import run_once
from skylift.core.names import s3_url


def take(here: Connection, environment: dict[str, Any], say: Callable[[str], None]) -> tuple[str, str]:
    """Takes a snapshot; returns its id, and what it has, for people. Errors as ``run_once``, and from S3."""
    made = store.new_id()
    store.write_environment(here.client("s3"), environment, made)
    url = s3_url(store.bucket_of(environment), store.prefix_of(environment, made))
    return made, run_once(here, environment, ["snapshot", url], say)


def keep_newest(s3: Any, environment: dict[str, Any], count: int) -> list[str]:
    """Deletes all snapshots but the newest; returns the ids of those that are gone. Errors from S3."""
    gone = [one.id for one in store.listed(s3, environment)[:-count]]
    for one in gone:
        store.delete(s3, environment, one)
    return gone
