"""The AWS CLI for tests: the one of this machine, or a fixed version from PyPI in a virtual environment of its own.

No test is skipped for want of it.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.local.upstream_cloud import shell_variables
from tests.stack import Stack

Aws = Callable[..., Any]
VERSION = "1.44.14"
"""Version 1, which PyPI has; version 2 is not published there."""


@functools.cache
def aws_cli() -> str:
    """The path of a working ``aws``. Its botocore is fixed to the CLI's version, so it cannot be installed beside ours."""
    if found := shutil.which("aws"):
        return found
    folder = Path(tempfile.gettempdir()) / f"skylift-tests-aws-cli-{VERSION}"
    program = folder / "bin" / "aws"
    if not program.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), f"awscli=={VERSION}"]
        subprocess.run(install, check=True)
    return str(program)


def path_with_aws(*folders: Path) -> str:
    """PATH of a shell that has these folders first, and the AWS CLI."""
    return os.pathsep.join([*map(str, folders), os.environ["PATH"], str(Path(aws_cli()).parent)])


def aws_of(stack: Stack) -> Aws:
    """Runs ``aws`` as a user of ``skylift shellenv`` does; the answer as JSON, or its text where it is none."""
    environ = {**stack.environ, **shell_variables(stack.must("shellenv")), "AWS_PAGER": ""}

    def call(*words: str) -> Any:
        done = subprocess.run(
            [aws_cli(), *words], env=environ, text=True, capture_output=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"aws {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout

    return call
