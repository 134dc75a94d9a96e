"""A local cloud with a fake of Anyscale; its jobs run with the Python that runs the tests.

Like the fixtures of ``skylift.testing``, but a cloud for each file, not for the session: only one can run in a process,
and the files of other folders have theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from skylift.testing.anyscale import Anyscale, running_anyscale
from skylift.testing.cloud import Cloud, running_cloud

IMAGE = "test/python:1"


@pytest.fixture(scope="module")
def skylift_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud."""
    with running_cloud(tmp_path_factory.mktemp("skylift"), images={IMAGE: sys.prefix}) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def anyscale(skylift_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anyscale]:
    """A fake of Anyscale."""
    with running_anyscale(skylift_cloud, tmp_path_factory.mktemp("anyscale"), image=IMAGE) as anyscale:
        yield anyscale
