"""The fixture that the page on Anyscale shows, used as it says, in a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stack import ROOT

pytestmark = pytest.mark.local

USED = """
    from skylift.anyscale import AnyscaleHook
    worked, said = AnyscaleHook("anyscale").test_connection()
    assert worked, said
    assert skylift_anyscale.jobs() == []
"""


def test_the_fixture_is_used_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "anyscale.md").read_text()
    (shown,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def test_my_dag" in one]
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["skylift.testing"]\n')
    (tmp_path / "test_page.py").write_text(
        shown.replace("    ...  # skylift_anyscale", f"{USED}    # skylift_anyscale")
    )
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base"))
    done = subprocess.run(
        [*words, "test_page.py"], cwd=tmp_path, text=True, capture_output=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
