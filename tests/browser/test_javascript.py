"""The AWS SDK for JavaScript v3 against skylift: MWAA, ECS and S3, with fixed versions from npm (``npm ci``).

It stands in this tier because that has an environment anyway.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tests.local.upstream_cloud import shell_variables
from tests.stack import QUICKSTART, Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
SOURCE = Path(__file__).with_name("javascript")
LEAST_NODE = 20
"""@aws-sdk/client-s3 asks for it."""


@pytest.fixture(scope="module")
def program() -> Path:
    """The script, in a folder with its packages, kept for the next run."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("the JavaScript SDK needs node and npm, and they are not on the PATH")
    version = subprocess.run([node, "--version"], text=True, capture_output=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < LEAST_NODE:
        pytest.skip(f"the JavaScript SDK needs Node {LEAST_NODE} or newer; this is {version}")
    lock = (SOURCE / "package-lock.json").read_bytes()
    folder = Path(tempfile.gettempdir()) / f"skylift-tests-javascript-{hashlib.sha256(lock).hexdigest()[:12]}"
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    if not (folder / "installed").exists():
        install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(install, cwd=folder, text=True, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "installed").touch()
    return folder / "session.mjs"


@pytest.fixture(scope="module")
def seen(stack: Stack, program: Path) -> dict[str, Any]:
    """What the script saw."""
    stack.must("up", str(QUICKSTART), seconds=400)
    stack.must("image", "add", "javascript/app:1")
    environ = {**stack.environ, **shell_variables(stack.must("shellenv"))}
    done = subprocess.run(
        ["node", str(program), "quickstart", "javascript/app:1"],
        env=environ,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{stack.log()}"
    return dict(json.loads(done.stdout))


def test_mwaa(seen: dict[str, Any]) -> None:
    assert "quickstart" in seen["environments"]
    assert seen["environment"] == {"status": "AVAILABLE", "created": True}
    assert seen["token"] is True
    assert seen["noEnvironment"] == ["ResourceNotFoundException", 404]


def test_ecs(seen: dict[str, Any]) -> None:
    assert seen["task"] == {"status": "STOPPED", "code": 7, "stopped": True}
    assert seen["noCluster"] == ["ClusterNotFoundException", 400]


def test_s3(seen: dict[str, Any]) -> None:
    assert seen["object"] == {"text": "hello", "metadata": {"colour": "blue"}, "checksum": True}
    assert seen["keys"] == ["a b/ü.txt"]
    assert seen["noObject"] == ["NoSuchKey", 404]
