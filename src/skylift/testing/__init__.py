"""For other people's tests: a local cloud as a pytest fixture. Explicit, so that it costs nobody who does not ask:

    pytest_plugins = ["skylift.testing"]

in a ``conftest.py`` gives the fixtures of ``skylift.testing.fixtures``; ``running_cloud`` serves other test frameworks.
PYTEST_DONT_REWRITE: there are no assertions here, and a conftest.py may import from here before pytest does.
"""

from __future__ import annotations

from skylift.localcloud.images.registry import NamedImage
from skylift.testing.cloud import Cloud, running_cloud
from skylift.testing.dag_runs import DagOutcome, run_dag
from skylift.testing.fixtures import (
    aws_client,
    skylift_anyscale,
    skylift_anyscale_image,
    skylift_cloud,
    skylift_faults,
    skylift_images,
    skylift_run_dag,
)

__all__ = [
    "Cloud",
    "DagOutcome",
    "NamedImage",
    "aws_client",
    "run_dag",
    "running_cloud",
    "skylift_anyscale",
    "skylift_anyscale_image",
    "skylift_cloud",
    "skylift_faults",
    "skylift_images",
    "skylift_run_dag",
]
