"""Specs, scenes and requests that the control plane's tests share."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import boto3
import pytest

from skylift.control.api.validation import spec_of
from skylift.control.part_context import PartContext
from skylift.control.settings import ControlSettings
from skylift.core.environment import Spec
from tests.stack import Stack

ROLE = "arn:aws:iam::000000000000:role/flight"
SETTINGS = ControlSettings()
VERSION = "11111111-1111-1111-1111-111111111111"
"""Id of the version of a secret that serves."""


def request(**members: Any) -> dict[str, Any]:
    """The least CreateEnvironment request that is lawful, and more."""
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
    """A scene in which everything that others need is known. ``facts`` names have ``__`` for a dot."""
    known = {
        "web.address": "127.66.0.1:8080",
        "web.target_group": "arn:tg",
        "secrets.airflow": "arn:secret:airflow",
        "secrets.admin_password": "arn:secret:password",
        "secrets.options": "arn:secret:options",
        "secrets.options_version": VERSION,
        "database.secret": "arn:secret:database",
        "database.name": "airflow-flight",
        "events.queue": "arn:aws:sqs:us-east-1:000000000000:skylift-flight-events",
    }
    known |= {name.replace("__", "."): value for name, value in facts.items()}
    return PartContext(wanted or spec(), SETTINGS, "2026-11-20", known)


def without(one: PartContext, *names: str) -> PartContext:
    """The scene without some facts."""
    return replace(one, facts={name: value for name, value in one.facts.items() if name not in names})


def aim(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns this process's AWS settings to a running skylift, as ``eval "$(skylift shellenv)"`` does."""
    for line in stack.must("shellenv").splitlines():
        if line.startswith("export "):
            name, _, value = shlex.split(line.removeprefix("export "))[0].partition("=")
            monkeypatch.setenv(name, value)
    # boto3's default session remembers the files of whoever made it first, perhaps an earlier test.
    boto3.setup_default_session()
