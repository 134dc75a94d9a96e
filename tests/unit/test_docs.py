"""The generated pages match the code; the written ones link to pages and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from docs.generate import DOCS, MARK, PAGES

from skylift.cli.main import cli

pytestmark = pytest.mark.unit
WRITTEN = sorted(path for path in DOCS.rglob("*.md") if path.name not in PAGES or MARK in path.read_text())
ROOT = DOCS.parent
LINKING = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), f"docs/{name} is old: make docs"


@pytest.mark.parametrize("path", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path: Path) -> None:
    broken = []
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
        page = path.parent / target if target else path
        if not page.exists() or (heading and heading not in headings(page)):
            broken.append(f"{target}#{heading}")
    assert broken == [], f"{path.name} links to what is not there"


def headings(page: Path) -> set[str]:
    """Names of its headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_commands_in_code_blocks_exist(path: Path) -> None:
    unknown = []
    for block in re.findall(r"^```(?:sh|bash)?\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        for words in re.findall(r"(?:^|[(\s])skylift ((?:[a-z-]+ )*[a-z][a-z-]*)", block):
            known: click.Command = cli
            for word in words.split():
                if not isinstance(known, click.Group):
                    break
                if word not in known.commands:
                    unknown.append(words)
                    break
                known = known.commands[word]
    assert unknown == [], f"commands of {path.name} that there are not"
