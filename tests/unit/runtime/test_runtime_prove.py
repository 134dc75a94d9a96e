"""What a trial's report means for an update, and which part of a traceback is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skylift.core.containers import ProofFault
from skylift.runtime.prove import Disproven, Trial, judge
from skylift.runtime.trial import last_words

pytestmark = pytest.mark.unit
GOOD: dict[str, Any] = {"done": True, "options": [], "plugins": {}, "dags": {}, "failed": "", "now": ""}


def refused(report: dict[str, Any], broken: dict[str, str] | None = None, ended: str = "") -> tuple[ProofFault, str]:
    with pytest.raises(Disproven) as caught:
        judge(Trial({**GOOD, **report}, ended, "the last line"), broken or {})
    return caught.value.code, str(caught.value)


def test_what_is_well_is_proven_with_its_notes() -> None:
    assert judge(Trial({**GOOD, "notes": ["[foo] is not known"]}, "", ""), {}) == ["[foo] is not known"]
    assert judge(Trial({**GOOD, "dags": {"a.py": "it did not parse before either"}}, "", ""), {}) == []


def test_a_plugin_that_does_not_load_is_a_note() -> None:
    assert judge(Trial({**GOOD, "plugins": {"p.py": "no pandas"}, "notes": ["more"]}, "", ""), {}) == [
        "The plugin p.py does not load, and is left out: no pandas",
        "more",
    ]


def test_each_mistake_has_its_code_and_its_place() -> None:
    wrong = "[core] parallelism: 'lots' is no integer"
    assert refused({"options": [wrong], "failed": "more"}) == (ProofFault.CONFIGURATION_FAILED, wrong)
    code, text = refused({}, {"a.py": '"a.py", line 3: no pandas'})
    assert code is ProofFault.DAGS_FAILED
    assert text == 'DAG files that parse today would no longer:\na.py: "a.py", line 3: no pandas'
    failed = "starting Airflow: ImportError: no such class"
    assert refused({"done": False, "failed": failed}) == (
        ProofFault.START_FAILED,
        f"Airflow does not start: {failed}",
    )


def test_many_broken_files_are_counted() -> None:
    _, text = refused({}, {f"{number}.py": "no" for number in range(9)})
    assert text.endswith("4.py: no\nand 4 more")


def test_a_process_that_died_is_told_with_its_step_and_last_lines() -> None:
    code, text = refused({"done": False, "now": "loading plugins"}, ended="ended with exit code -11")
    assert (code, text) == (
        ProofFault.START_FAILED,
        "loading plugins: the process ended with exit code -11\nthe last line",
    )


def test_of_a_traceback_the_users_own_line_is_told() -> None:
    text = (
        'Traceback (most recent call last):\n  File "/lib/airflow/x.py", line 9, in parse\n    load()\n'
        '  File "/p/dags/sub/a.py", line 3, in <module>\n    import b\n  File "/p/dags/b.py", line 7, in <module>\n'
        "    import pandas\nModuleNotFoundError: No module named 'pandas'\n"
    )
    assert last_words(text, Path("/p/dags")) == "\"b.py\", line 7: ModuleNotFoundError: No module named 'pandas'"
    assert last_words("timed out", Path("/p/dags")) == "timed out"
    assert last_words("", Path("/p/dags")) == "no reason given"
