"""Users can add packages to the image: the lock leaves room for the extras and providers that people use most."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.stack import ROOT, SKYLIFT

from skylift.runtime.requirements import canonical, uv_environment

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

LOCKS = sorted((ROOT / "src/skylift/localcloud/image_locks").glob("airflow-*.txt"))
AMAZON = ("aiobotocore", "cncf-kubernetes", "common-messaging", "fab", "openlineage", "pandas", "s3fs", "ssh")
PROVIDERS = (
    *("celery", "cncf-kubernetes", "common-sql", "databricks", "dbt-cloud", "docker", "google", "http"),
    *("microsoft-azure", "mysql", "postgres", "redis", "sftp", "slack", "snowflake", "ssh"),
)
EVERYDAY = ("awswrangler", "boto3", "pandas", "pyarrow", "requests", "s3fs")
WANTED = (
    *(f"apache-airflow-providers-amazon[{extra}]" for extra in AMAZON),
    *(f"apache-airflow-providers-{name}" for name in PROVIDERS),
    *EVERYDAY,
)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_what_people_add_fits_the_locked_versions_on_every_python(lock: Path, tmp_path: Path) -> None:
    refused = {}
    for wanted in WANTED:
        done = _resolved(wanted, lock, tmp_path)
        if done.returncode != 0:
            refused[wanted] = done.stderr[-600:]
    assert refused == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_what_deferrable_operators_of_aws_need_is_in_the_image(lock: Path, tmp_path: Path) -> None:
    done = _resolved("apache-airflow-providers-amazon[aiobotocore]", lock, tmp_path)
    assert done.returncode == 0, done.stderr
    assert _pins(done.stdout) <= _pins(lock.read_text()), "it resolves to something that the image lacks"
    assert "aiobotocore" in {name for name, _ in _pins(lock.read_text())}


def _resolved(wanted: str, lock: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Resolves as a layer's build does, with the image's packages as constraints, for each Python that we support."""
    (folder / "requirements.txt").write_text(wanted + "\n")
    (folder / "image.txt").write_text("".join(f"{line}\n" for line in _lines(lock.read_text())))
    uv = SKYLIFT.with_name("uv")
    options = ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    command = [uv, "pip", "compile", *options, "-c", folder / "image.txt", folder / "requirements.txt"]
    return subprocess.run(command, env=uv_environment(os.environ), capture_output=True, text=True, check=False)


def _lines(lock: str) -> list[str]:
    """The lock's pins with their markers, without hashes."""
    return [line.removesuffix("\\").strip() for line in lock.splitlines() if "==" in line and line[:1].isalnum()]


def _pins(text: str) -> set[tuple[str, str]]:
    parts = (line.partition(";")[0].strip().partition("==") for line in _lines(text))
    return {(canonical(name.partition("[")[0]), version) for name, _, version in parts}
