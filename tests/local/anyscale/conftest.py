"""A local cloud with a fake of Anyscale, from the fixtures that others use, too; its jobs run with the Python that runs
the tests."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

from skylift.testing import skylift_anyscale as skylift_anyscale
from skylift.testing import skylift_anyscale_image as skylift_anyscale_image
from skylift.testing import skylift_cloud as skylift_cloud
from skylift.testing.anyscale import Anyscale

IMAGE = "test/python:1"


@pytest.fixture(scope="session")
def skylift_images() -> Mapping[str, str]:
    """The Python that runs the tests."""
    return {IMAGE: sys.prefix}


@pytest.fixture(scope="session")
def anyscale(skylift_anyscale: Anyscale) -> Anyscale:
    """A fake of Anyscale."""
    return skylift_anyscale
