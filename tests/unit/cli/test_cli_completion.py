"""What the shell completes: nothing where nothing answers; our own bugs are not taken for that."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from skylift.cli import completion
from skylift.cli.commands.restart import restart

pytestmark = pytest.mark.unit


def test_without_a_server_nothing_is_completed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path))
    context, parameter = click.Context(restart), restart.params[0]
    assert completion.complete_environment(context, parameter, "") == []
    assert completion.complete_dag(context, parameter, "") == []
    assert [one.value for one in completion.complete_log(context, parameter, "sched")] == ["scheduler"]
    assert [one.value for one in completion.complete_part(context, parameter, "d")] == ["dag-processor"]


def test_only_what_does_not_answer_is_passed_over() -> None:
    assert not issubclass(TypeError, completion.UNANSWERED)
    assert not issubclass(KeyError, completion.UNANSWERED)
