"""A local cloud with a fake of Anyscale; its jobs run with the Python that runs the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylift.testing import Cloud, running_cloud
from skylift.testing.anyscale import Anyscale, running_anyscale

IMAGE = "test/python:1"


@pytest.fixture(scope="module")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud."""
    with running_cloud(tmp_path_factory.mktemp("cloud"), images={IMAGE: Path(sys.prefix)}) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def anyscale(local_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anyscale]:
    """A fake of Anyscale."""
    with running_anyscale(local_cloud, tmp_path_factory.mktemp("anyscale"), image=IMAGE) as fake:
        yield fake
