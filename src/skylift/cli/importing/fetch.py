"""Reads an environment over the MWAA API, and its files from its bucket, with the caller's own AWS settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skylift.aws.clients import client
from skylift.aws.errors import calling
from skylift.cli.environments import VERSIONED
from skylift.cli.home import write_private
from skylift.cli.importing.settings import ListedObjects, settings_of
from skylift.cli.projects.project import SETTINGS
from skylift.cli.settings_file.read import DOTENV
from skylift.core.errors import Refused, SkyliftError
from skylift.core.file_paths import unfit

PAGE = 100
LISTS = ("connections", "variables", "pools")
KEEPS = ("dags", "requirements.txt", "plugins.zip", "plugins", "startup.sh", SETTINGS, DOTENV)
"""What must not be there: an import replaces nothing."""


def import_environment(name: str, folder: Path, offered: str, say: Callable[[str], None]) -> list[str]:
    """Makes a project of an environment; returns what the user must know.

    Args:
        offered: the Airflow version of our image.

    Raises:
        Refused: there is no such environment, a right is missing, or the folder has a project already.
        Unavailable: AWS does not answer.
    """
    if there := [one for one in KEEPS if (folder / one).exists()]:
        raise Refused(f"{folder} has {', '.join(there)} already. Give the name of a new folder.")
    mwaa, s3 = client("mwaa"), client("s3")
    say(f"reading environment {name}")
    with calling(f"mwaa GetEnvironment {name}"):
        environment = mwaa.get_environment(Name=name)["Environment"]
    state = _state(mwaa, name, say)
    bucket = str(environment["SourceBucketArn"]).rpartition(":")[2]
    notes = _dags(s3, bucket, str(environment["DagS3Path"]).strip("/"), folder, say)
    for file, member in VERSIONED.items():
        if key := environment.get(f"{member}S3Path"):
            say(f"reading s3://{bucket}/{key}")
            _object(s3, bucket, key, str(environment.get(f"{member}S3ObjectVersion") or ""), folder / file)
    found = settings_of(environment, state, offered)
    (folder / SETTINGS).write_text(found.toml)
    write_private(folder / DOTENV, found.dotenv)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text(".env\n.venv/\n__pycache__/\n")
    return [*found.notes, *notes]


def _dags(s3: Any, bucket: str, prefix: str, folder: Path, say: Callable[[str], None]) -> list[str]:
    dags, notes = folder / "dags", []
    dags.mkdir(parents=True)
    with calling(f"s3 ListObjectsV2 {bucket}"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    for number, key in enumerate(keys, 1):
        relative = key.removeprefix(f"{prefix}/")
        if not relative or key.endswith("/"):
            continue
        if reason := unfit(relative):
            notes.append(f"{key!a} is left out: its name {reason}")
            continue
        say(f"reading {number} of {len(keys)} DAG files")
        _object(s3, bucket, key, "", dags / relative)
    return notes


def _object(s3: Any, bucket: str, key: str, version: str, target: Path) -> None:
    with calling(f"s3 GetObject {bucket}/{key}"):
        body = s3.get_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))["Body"].read()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(body)


def _state(mwaa: Any, name: str, say: Callable[[str], None]) -> ListedObjects:
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    refused = []
    for what in LISTS:
        say(f"listing {what}")
        try:
            found[what] = _listed(mwaa, name, what)
        except SkyliftError as error:
            refused.append(f"{what}: {error}")
    return ListedObjects(**found, refused=tuple(refused))


def _listed(mwaa: Any, name: str, what: str) -> tuple[Mapping[str, Any], ...]:
    """All of a list of Airflow's REST API, over the MWAA API."""
    rows: list[Mapping[str, Any]] = []
    while True:
        with calling(f"mwaa InvokeRestApi {name} /{what}"):
            answer = mwaa.invoke_rest_api(
                Name=name, Path=f"/{what}", Method="GET", QueryParameters={"limit": PAGE, "offset": len(rows)}
            )["RestApiResponse"]
        page = json.loads(answer) if isinstance(answer, str) else answer
        rows += page.get(what, [])
        if not page.get(what) or len(rows) >= int(page.get("total_entries", 0)):
            return tuple(rows)
