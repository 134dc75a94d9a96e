"""Fixtures that all tiers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One skylift for the whole session: building its image once is most of the cost."""
    with running(tmp_path_factory.mktemp("skylift") / "home") as started:
        yield started
