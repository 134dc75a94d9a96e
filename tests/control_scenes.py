"""Specs, scenes and requests that the control plane's tests share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import boto3
import pytest

from skylift.control.api.validation import spec_of
from skylift.control.part_context import PartContext
from skylift.control.settings import ControlSettings
from skylift.core.environment import ECS_EXECUTOR, Spec
from skylift.wire.provider import Caller
from tests.stack import Stack

ROLE = "arn:aws:iam::000000000000:role/flight"
SETTINGS = ControlSettings(default_executors=(ECS_EXECUTOR,))
"""Most tests are about environments without workers: they have fewer parts."""
WITH_WORKERS = ControlSettings()
VERSION = "11111111-1111-1111-1111-111111111111"
"""Version id of the secret in use."""


class AllowingJudge:
    """Everybody may do everything."""

    def refusals(self, caller: Caller, action: str, resources: Sequence[str]) -> Mapping[str, str]:
        return {}


EVERYTHING = AllowingJudge()


def request(**members: Any) -> dict[str, Any]:
    """The smallest valid CreateEnvironment request, plus ``members``."""
    return {
        "Name": "flight",
        "ExecutionRoleArn": ROLE,
        "SourceBucketArn": "arn:aws:s3:::flight-bucket",
        "DagS3Path": "dags",
        "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
        **members,
    }


def spec(**members: Any) -> Spec:
    """The Spec of ``request(**members)``."""
    return spec_of(request(**members), SETTINGS)


def context(wanted: Spec | None = None, **facts: str) -> PartContext:
    """A context in which every fact that parts need is known. In ``facts``, ``__`` stands for a dot."""
    known = {
        "web.address": "127.66.0.1:8080",
        "web.target_group": "arn:tg",
        "secrets.airflow": "arn:secret:airflow",
        "secrets.token_key": "public-key",
        "secrets.options": "arn:secret:options",
        "secrets.options_version": VERSION,
        "database.secret": "arn:secret:database",
        "database.name": "airflow-flight",
        "events.queue": "arn:aws:sqs:us-east-1:000000000000:skylift-flight-events",
    }
    known |= {name.replace("__", "."): value for name, value in facts.items()}
    return PartContext(wanted or spec(), SETTINGS, "2026-11-20", known)


def without(one: PartContext, *names: str) -> PartContext:
    """The context without some facts."""
    return replace(one, facts={name: value for name, value in one.facts.items() if name not in names})


def aim(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points this process's AWS settings at a running skylift, like ``eval "$(skylift shellenv)"``."""
    for line in stack.must("shellenv").splitlines():
        if line.startswith("export "):
            name, _, value = shlex.split(line.removeprefix("export "))[0].partition("=")
            monkeypatch.setenv(name, value)
    # boto3's default session keeps the files of whoever created it, perhaps an earlier test.
    boto3.setup_default_session()
