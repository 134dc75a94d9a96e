"""Finds saved files of a project that its environment does not run with: an environment uses the version of these files
from when it was created or last updated, and what skylift.toml said at the last ``skylift up``."""

from __future__ import annotations

import os
from typing import Any

from skylift.cli import environments
from skylift.cli.account import exists
from skylift.cli.connection import Connection
from skylift.cli.environments import VERSIONED
from skylift.cli.projects import buckets
from skylift.cli.projects.project import SETTINGS, Project, up_command
from skylift.cli.settings_file.apply import difference_of, foreseen_of
from skylift.cli.settings_file.read import read as read_settings
from skylift.core.errors import Refused, Unavailable


def not_applied(s3: Any, project: Project, environment: dict[str, Any]) -> list[str]:
    """Files whose content in the project's bucket differs from the version that the environment runs with.

    Args:
        environment: as from GetEnvironment.

    Raises:
        Refused, Unavailable: from S3.
    """
    if environment["Status"] in {"CREATE_FAILED", "DELETING"}:
        return []
    if environment.get("SourceBucketArn", "").rpartition(":")[2] != project.bucket:
        return []
    versions = {key: buckets.version_of(s3, project.bucket, key) for key in VERSIONED}
    return [
        key
        for key in environments.outdated(environment, versions)
        if not _same(s3, project.bucket, key, environment.get(f"{VERSIONED[key]}S3ObjectVersion") or "", versions[key])
    ]


def files_request(s3: Any, project: Project, environment: dict[str, Any]) -> dict[str, Any]:
    """The members of UpdateEnvironment that apply what is not applied; {} when all is. Errors as ``not_applied``."""
    request: dict[str, Any] = {}
    for key in not_applied(s3, project, environment):
        version = buckets.version_of(s3, project.bucket, key)
        request[f"{VERSIONED[key]}S3Path"] = key if version else ""
        if version:
            request[f"{VERSIONED[key]}S3ObjectVersion"] = version
    return request


def of_environment(here: Connection, environment: dict[str, Any]) -> tuple[list[str], str]:
    """The files that an environment does not run with, and the notice for people; empty for one without a project.

    When AWS does not answer, both are empty, so that the caller can show everything else.
    """
    one = buckets.followed(here.home).get(environment["Name"])
    if one is None:
        return [], ""
    try:
        files = not_applied(here.client("s3"), one.project, environment)
        text = notice(one.project, files) if files else ""
        if not settings_changed(here, one, environment):
            return files, text
    except (Refused, Unavailable):
        return [], ""
    again = up_command(one.project)
    told = (
        f"{SETTINGS} or .env changed and is not applied. To see what applying does: {again} --plan; to do it: {again}"
    )
    return [*files, SETTINGS], f"{text}. {told}" if text else told


def settings_changed(here: Connection, one: buckets.Followed, environment: dict[str, Any]) -> bool:
    """Whether ``skylift up`` would change the environment because of skylift.toml and .env. Pools and IAM statements,
    which are not part of the environment, are not looked at; nor is a file that ``up`` would refuse.

    Raises:
        Refused, Unavailable: from AWS.
    """
    if environment["Status"] in {"CREATE_FAILED", "DELETING"}:
        return False
    try:
        settings = read_settings(one.project.folder, os.environ)
        wanted = foreseen_of(here, one.project.name, settings, environment)
    except Refused:
        return False
    found = difference_of(wanted, buckets.applied_settings(here.home, one.project), environment)
    return bool(found.change or found.remove) or settings.snapshots != one.snapshots


def notice(project: Project, files: list[str]) -> str:
    """One line for people: what is not applied, and how to apply it."""
    verb = "are" if len(files) > 1 else "is"
    return (
        f"{', '.join(files)} changed and {verb} not applied to environment {project.name}. To see what applying does, "
        f"and to do it: skylift env update {project.name}"
    )


def _same(s3: Any, bucket: str, key: str, pinned: str, current: str) -> bool:
    """Whether two versions have the same content, e.g. after a change was undone."""
    if not pinned or not current:
        return False
    tags = [_etag(s3, bucket, key, version) for version in (pinned, current)]
    return tags[0] == tags[1] != ""


def _etag(s3: Any, bucket: str, key: str, version: str) -> str:
    found: dict[str, Any] = {}
    what = f"s3 HeadObject {bucket}/{key}"
    exists(lambda: found.update(s3.head_object(Bucket=bucket, Key=key, VersionId=version)), what)
    return str(found.get("ETag", ""))
