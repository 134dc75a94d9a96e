"""``make mutants``: which mutants it makes, and which tests it runs for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.mutants.mistakes import mistakes_in
from tools.mutants.seen import Seen, _test_files

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
SOURCE = '''"""A file."""
import contextlib
LIMIT = 5


def work(items, lock, log):
    """No mistake in here, nor in what is logged or told to people."""
    log.info("key")
    with lock:
        items.append(1)
    if items and LIMIT < 6:
        return [one for one in items if one]
    Thread(target=work, name="watch")
    ThreadPoolExecutor(LIMIT, "calls")
    raise ValueError("this is a sentence")
'''
MADE = {
    (3, "constant", "LIMIT = 6"),
    (9, "lock left out", "if True:"),
    (10, "statement left out", "pass"),
    (10, "constant", "items.append(2)"),
    (11, "and/or", "if items or LIMIT < 6:"),
    (11, "comparison", "if items and LIMIT <= 6:"),
    (11, "constant", "if items and LIMIT < 7:"),
    (11, "condition negated", "if (not (items and LIMIT < 6)):"),
    (12, "nothing returned", "return None"),
    (12, "condition negated", "return [one for one in items if (not (one))]"),
    (13, "statement left out", "pass"),
    (13, "argument left out", 'Thread( name="watch")'),
    (14, "statement left out", "pass"),
    (15, "statement left out", "pass"),
}


def test_a_mistake_is_one_change_that_a_test_could_see() -> None:
    made = mistakes_in("f.py", SOURCE)
    shown = {(one.line, one.kind, " ".join(one.lines(SOURCE)[1].split())) for one in made}
    assert shown == MADE
    assert all(one.is_python(SOURCE) for one in made)


def test_tests_are_found_in_all_folders() -> None:
    found = {str(path.relative_to(ROOT)) for path in _test_files(["tests/unit", "tests/local/wire/test_wire_calls.py"])}
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "tests/unit").rglob("test_*.py")}
    left_out = {"tests/unit/test_law.py", "tests/unit/test_docs.py"}
    assert found == here - left_out | {"tests/local/wire/test_wire_calls.py"}
    assert "tests/unit/wire/test_wire_values.py" in found


LINES = "src/skylift/core/clock.py"


def line_of(text: str) -> int:
    return next(number for number, line in enumerate((ROOT / LINES).read_text().splitlines(), 1) if text in line)


RAISES, RETURNS = line_of("raise ValueError"), line_of("return self.now")


def seen() -> Seen:
    """A recording in which one test ran little, and one much."""
    text = (ROOT / LINES).read_text()
    other = {number: ["tests/unit/a.py::wide"] for number in range(1, 900)}
    ran = {
        LINES: {RAISES: ["tests/unit/a.py::wide", "tests/unit/a.py::narrow"], RETURNS: ["tests/unit/a.py::wide"]},
        "x.py": other,
    }
    seconds = {"tests/unit/a.py::wide": 0.1, "tests/unit/a.py::narrow": 0.2, "tests/unit/a.py::other": 0.0}
    return Seen(seconds, ran, {LINES: text}, {})


def test_those_that_run_a_line_are_tried_and_the_nearest_first() -> None:
    tests = seen().tests_of(LINES, RAISES, 60)
    assert tests.ids == ("tests/unit/a.py::narrow", "tests/unit/a.py::wide")
    assert seen().tests_of(LINES, RAISES, 0.1).ids == ("tests/unit/a.py::narrow",), "as far as time reaches"
    assert seen().tests_of(LINES, RETURNS, 60).ids == ("tests/unit/a.py::wide",)
