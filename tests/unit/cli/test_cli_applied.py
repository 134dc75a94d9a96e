"""What was saved and is not applied: found by content, for every kind of file that an environment pins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skylift.cli.projects.applied import not_applied, notice
from skylift.cli.projects.project import Project, digest

pytestmark = pytest.mark.unit
PROJECT = Project(Path("/p/demo"), "demo")
FILES = {"requirements.txt": "Requirements", "plugins.zip": "Plugins", "startup.sh": "StartupScript"}


class S3:
    """A bucket that keeps every version; a body of ``None`` is a removal."""

    def __init__(self) -> None:
        self.versions: dict[str, list[bytes | None]] = {}

    def put(self, key: str, body: bytes | None) -> str:
        self.versions.setdefault(key, []).append(body)
        return f"v{len(self.versions[key])}"

    def list_object_versions(self, Bucket: str, Prefix: str) -> dict[str, Any]:
        assert Bucket == PROJECT.bucket
        bodies = self.versions.get(Prefix, [])
        return {
            "Versions": [
                {"Key": Prefix, "VersionId": f"v{number}", "IsLatest": number == len(bodies)}
                for number, body in enumerate(bodies, 1)
                if body is not None
            ]
        }

    def head_object(self, Bucket: str, Key: str, VersionId: str) -> dict[str, Any]:
        return {"ETag": f'"{digest(self.versions[Key][int(VersionId[1:]) - 1] or b"")}"'}


def environment(status: str = "AVAILABLE", bucket: str = PROJECT.bucket, **pinned: str) -> dict[str, Any]:
    return {
        "Name": "demo",
        "Status": status,
        "SourceBucketArn": f"arn:aws:s3:::{bucket}",
        **{f"{FILES[key.replace('_', '.')]}S3ObjectVersion": version for key, version in pinned.items()},
    }


@pytest.mark.parametrize("key", FILES)
def test_what_was_saved_later_is_not_applied_until_it_is_taken_back(key: str) -> None:
    s3 = S3()
    made = {key.replace(".", "_"): s3.put(key, b"1")}
    assert not_applied(s3, PROJECT, environment(**made)) == []
    s3.put(key, b"2")
    assert not_applied(s3, PROJECT, environment(**made)) == [key]
    s3.put(key, b"1")
    assert not_applied(s3, PROJECT, environment(**made)) == []
    s3.put(key, None)
    assert not_applied(s3, PROJECT, environment(**made)) == [key]


@pytest.mark.parametrize("key", FILES)
def test_a_file_that_came_after_the_environment_is_not_applied(key: str) -> None:
    s3 = S3()
    s3.put(key, b"1")
    assert not_applied(s3, PROJECT, environment()) == [key]


def test_nothing_is_said_of_what_is_not_made_from_the_project_or_goes_away() -> None:
    s3 = S3()
    s3.put("startup.sh", b"1")
    assert not_applied(s3, PROJECT, environment(bucket="another")) == []
    assert not_applied(s3, PROJECT, environment("DELETING")) == []
    assert not_applied(s3, PROJECT, environment("CREATE_FAILED")) == []


def test_the_notice_says_what_to_type() -> None:
    assert notice(PROJECT, ["startup.sh", "plugins.zip"]) == (
        "startup.sh, plugins.zip changed and are not applied to environment demo. "
        "To see what applying does, and to do it: skylift env update demo"
    )
