"""What a snapshot puts back of an environment's configuration, and which snapshots there are."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.cli.snapshots.putting_back import as_it_was
from skylift.cli.snapshots.store import new_id, prefix_of, the_snapshot
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit
THEN: dict[str, Any] = {
    "Name": "demo",
    "Status": "AVAILABLE",
    "EnvironmentClass": "mw1.small",
    "SourceBucketArn": "arn:aws:s3:::skylift-demo",
    "RequirementsS3Path": "requirements.txt",
    "RequirementsS3ObjectVersion": "v1",
    "LoggingConfiguration": {
        "TaskLogs": {"Enabled": True, "LogLevel": "INFO", "CloudWatchLogGroupArn": "arn:aws:logs:x"}
    },
    "AirflowConfigurationOptions": {"core.executor": "x", "skylift.stopped": "True"},
}


class NoObjects:
    """A bucket without objects."""

    def get_paginator(self, _name: str) -> NoObjects:
        return self

    def paginate(self, **_request: Any) -> list[dict[str, Any]]:
        return [{}]


def test_only_what_an_update_takes_is_put_back() -> None:
    now = {**THEN, "PluginsS3Path": "plugins.zip", "EnvironmentClass": "mw1.large"}
    assert as_it_was(now, THEN) == {
        "EnvironmentClass": "mw1.small",
        "RequirementsS3Path": "requirements.txt",
        "RequirementsS3ObjectVersion": "v1",
        "PluginsS3Path": "",
        "LoggingConfiguration": {"TaskLogs": {"Enabled": True, "LogLevel": "INFO"}},
        "AirflowConfigurationOptions": {"core.executor": "x"},
    }


def test_without_a_snapshot_it_is_said_how_to_take_one() -> None:
    with pytest.raises(Refused, match="skylift snapshot demo"):
        the_snapshot(NoObjects(), THEN, None)


def test_ids_are_in_the_order_of_time() -> None:
    assert new_id() <= new_id()
    assert prefix_of(THEN, "20261130T000000Z") == "snapshots/demo/20261130T000000Z"
