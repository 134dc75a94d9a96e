"""The contract of ``Runner`` on the shipped fake, on processes, and on processes with templates. Podman:
``tests/image``."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
from tests.contract.runner_contract import *  # noqa: F403 - the contract's tests

from skylift.localcloud.containers.fake import FakeContainer, FakeRunner
from skylift.localcloud.containers.runner import Launch, ProcessRunner, Runner, RunningContainer, start_problem
from skylift.localcloud.containers.template import TemplateRunner

pytestmark = pytest.mark.contract


class FakeWorld:
    real = False
    added: frozenset[str] = frozenset()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._only: FakeRunner | None = None

    def runner(self) -> FakeRunner:
        """The next one knows what the last one started: a fake's processes live in it."""
        known = self._only.known if self._only else {}
        self._only = FakeRunner(time.time)
        self._only.known = known
        return self._only

    def launch(self, *words: str, memory: int = 0, **environment: str) -> Launch:
        self._count += 1
        folder = self._folder / f"c-{self._count}"
        return Launch(folder, Path(words[0]), words, environment, folder / "work", memory)

    def missing(self, runner: Runner, word: str) -> Launch:
        assert isinstance(runner, FakeRunner)
        runner.broken = start_problem(word, 2)
        return self.launch(word)

    def act(self, container: RunningContainer, code: int) -> None:
        assert isinstance(container, FakeContainer)
        container.end(code)


class ProcessWorld(FakeWorld):
    real = True
    added = frozenset({"PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"})

    def __init__(self, folder: Path, templates: bool) -> None:
        super().__init__(folder)
        self._templates = templates

    def runner(self) -> Runner:  # type: ignore[override]  # of another kind
        return TemplateRunner(ProcessRunner(), self._folder / "templates") if self._templates else ProcessRunner()

    def launch(self, *words: str, memory: int = 0, **environment: str) -> Launch:
        self._count += 1
        folder = self._folder / f"c-{self._count}"
        (folder / "work").mkdir(parents=True)
        executable = Path(sys.executable if words[0] == "python3" else shutil.which(words[0]) or words[0])
        whole = {"PATH": "/usr/bin:/bin", **environment}
        return Launch(folder, executable, words, whole, folder / "work", memory)

    def missing(self, runner: Runner, word: str) -> Launch:
        return self.launch(word)

    def act(self, container: RunningContainer, code: int) -> None:
        """It does by itself."""


@pytest.fixture(params=["fake", "process", "templates"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> FakeWorld:
    return FakeWorld(tmp_path) if request.param == "fake" else ProcessWorld(tmp_path, request.param == "templates")
