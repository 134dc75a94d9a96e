"""Fixtures that all tiers share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.stack import Stack, running

# Before any test file imports Airflow: the user's own Airflow home is neither read nor written.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="skylift-airflow-"))


@pytest.fixture(autouse=True)
def own_credentials() -> None:
    """boto3's default session keeps the keys that it read first; each test has its own cloud, and so its own keys."""
    if "boto3" in sys.modules:
        sys.modules["boto3"].DEFAULT_SESSION = None


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One skylift for the whole session, because building its image is most of the cost."""
    with running(tmp_path_factory.mktemp("skylift") / "home") as started:
        yield started
