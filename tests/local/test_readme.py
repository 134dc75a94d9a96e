"""The README is true: its Python block runs as a user would run it, its commands exist, and AWS's own CLI works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.stack import ROOT, SKYLIFT, Stack

from skylift.cli.main import cli

pytestmark = pytest.mark.local
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
SIGNED = 'eval "$(skylift shellenv)"'
COMMAND = re.compile(r"\bskylift ((?:[a-z]+(?:-[a-z]+)* ?)+)")
LISTED = re.compile(r"skylift ([a-z]+) ([a-z]+, .+)")


def in_shell(stack: Stack, script: str) -> subprocess.CompletedProcess[str]:
    """A user's shell: skylift and Python on the PATH, nothing of AWS but what ``shellenv`` gives."""
    path = f"{SKYLIFT.parent}:{stack.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", f"{SIGNED}\n{script}"],
        env={**stack.environ, "PATH": path},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def commands(text: str) -> set[tuple[str, ...]]:
    """Commands in code, as words; ``skylift env list, show`` is two of them."""
    code = re.findall(r"`([^`\n]+)`|^    (.+)$|^(skylift .+)$", text, re.MULTILINE)
    lines = [part for found in code for part in found if part]
    found = {tuple(words.split()) for line in lines for words in COMMAND.findall(line)}
    for line in lines:
        if listed := LISTED.match(line):
            found |= {(listed[1], part.split()[0]) for part in listed[2].split(", ")}
    return found


def test_the_python_block_runs(stack: Stack, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    assert SIGNED in blocks[0]
    script = tmp_path / "block.py"
    script.write_text(blocks[0] + "\nprint(mwaa.meta.endpoint_url)\n")
    done = in_shell(stack, f"{sys.executable} {script}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_a_page_names_are_there(page: Path) -> None:
    failed = []
    for words in commands(page.read_text()):
        # A group takes the next word as a command; to others it is an argument.
        known = words[:2] if isinstance(cli.commands.get(words[0]), click.Group) else words[:1]
        done = CliRunner().invoke(cli, [*known, "--help"])
        if done.exit_code:
            failed.append((words, done.output))
    assert failed == []


def test_commands_are_found_in_the_readme() -> None:
    assert {("up",), ("env", "run"), ("env", "open"), ("doctor",)} <= commands(README)


def test_the_aws_cli_works_as_the_readme_says(stack: Stack) -> None:
    if not shutil.which("aws", path=f"{SKYLIFT.parent}:{stack.environ['PATH']}"):
        pytest.skip("no AWS CLI on the PATH")
    done = in_shell(stack, "aws ecs describe-clusters --clusters skylift --output json; aws mwaa list-environments")
    assert done.returncode == 0, done.stderr
    assert json.JSONDecoder().raw_decode(done.stdout)[0]["clusters"][0]["status"] == "ACTIVE"
