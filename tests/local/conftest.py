"""Fixtures that several files share; a file that needs another cloud defines its own fixture with the same name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.local.ecs_cloud import Cloud, furnished
from tests.local.executor_api import ExecutionApi, execution_api


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud with the cluster ``default``, the log group and the bucket ``workloads``."""
    with furnished(tmp_path_factory.mktemp("cloud")) as started:
        started.client("s3").create_bucket(Bucket="workloads")
        yield started


@pytest.fixture(scope="module")
def ecs(cloud: Cloud) -> Any:
    """Its ECS."""
    return cloud.client()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecutionApi]:
    """Airflow's execution API."""
    with execution_api(tmp_path_factory.mktemp("execution") / "home") as running:
        yield running
