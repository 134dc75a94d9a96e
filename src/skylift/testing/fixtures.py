"""The pytest fixtures. ``skylift_images`` is there to be overridden: it says which images your containers start
from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from skylift.core.errors import Refused
from skylift.localcloud.images.registry import NamedImage
from skylift.testing.anyscale import Anyscale, running_anyscale
from skylift.testing.cloud import Cloud, running_cloud
from skylift.testing.dag_runs import DagOutcome, run_dag


@pytest.fixture(scope="session")
def skylift_images() -> Mapping[str, str | Path | NamedImage]:
    """What image references stand for (see ``running_cloud``). Override it with your task definitions' images."""
    return {}


@pytest.fixture(scope="session")
def skylift_cloud(
    tmp_path_factory: pytest.TempPathFactory, skylift_images: Mapping[str, str | Path | NamedImage]
) -> Iterator[Cloud]:
    """One local cloud for the whole session, on a free port, with its state in a temporary folder."""
    with running_cloud(tmp_path_factory.mktemp("skylift"), images=skylift_images) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def skylift_anyscale_image(skylift_images: Mapping[str, str | Path | NamedImage]) -> str:
    """Image of the fake Anyscale's job containers: the first of ``skylift_images``. Override it to name another; one
    with Ray, if your jobs need it."""
    if not skylift_images:
        raise Refused(
            "The fake of Anyscale needs an image for its jobs: override the fixture skylift_images, e.g. "
            'return {"my/image:1": sys.prefix}.'
        )
    return next(iter(skylift_images))


@pytest.fixture(scope="session")
def skylift_anyscale(
    skylift_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, skylift_anyscale_image: str
) -> Iterator[Anyscale]:
    """A fake of Anyscale for the whole session, whose jobs run in ``skylift_cloud``."""
    folder = tmp_path_factory.mktemp("anyscale")
    with running_anyscale(skylift_cloud, folder, image=skylift_anyscale_image) as anyscale:
        yield anyscale


@pytest.fixture
def aws_client(skylift_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes boto3 clients of the local cloud: ``aws_client("ecs")``.

    While the test runs, the environment leads there too, so that code which makes its own clients cannot reach a real
    account.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in skylift_cloud.variables.items():
        monkeypatch.setenv(name, value)
    return skylift_cloud.client


@pytest.fixture
def skylift_run_dag(aws_client: Callable[..., Any]) -> Callable[..., DagOutcome]:
    """Runs a DAG of a project against the local cloud: ``skylift_run_dag("daily_sales", bucket="sales")``
    (``dag_runs.run_dag``)."""
    assert callable(aws_client)  # it has pointed this process to the local cloud
    return run_dag


@pytest.fixture
def skylift_faults(skylift_cloud: Cloud) -> Iterator[Callable[..., dict[str, Any]]]:
    """Sets faults: ``skylift_faults("cut", operation="RunTask", calls=1)``. All are ended after the test."""
    yield skylift_cloud.fault
    skylift_cloud.clear_faults()
