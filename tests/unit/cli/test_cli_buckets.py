"""The versions that a project's environment gets: the current ones of requirements and plugins in its bucket."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.cli.projects.buckets import version_of

pytestmark = pytest.mark.unit


class S3:
    """A bucket with versions; a prefix finds its neighbours, too."""

    def __init__(self, *versions: tuple[str, str, bool]) -> None:
        self._versions = [{"Key": key, "VersionId": version, "IsLatest": latest} for key, version, latest in versions]

    def list_object_versions(self, Bucket: str, Prefix: str) -> dict[str, Any]:
        found = [one for one in self._versions if one["Key"].startswith(Prefix)]
        return {"Versions": found} if found else {}


def test_the_current_version_of_exactly_this_object() -> None:
    s3 = S3(
        ("requirements.txt.bak", "b1", True),
        ("requirements.txt", "v1", False),
        ("requirements.txt", "v2", True),
        ("requirements.txt", "v0", False),
    )
    assert version_of(s3, "bucket", "requirements.txt") == "v2"


@pytest.mark.parametrize("s3", [S3(), S3(("requirements.txt", "v1", False)), S3(("requirements.txt.bak", "b1", True))])
def test_an_object_that_is_not_there_now_has_none(s3: S3) -> None:
    assert version_of(s3, "bucket", "requirements.txt") == ""
