"""A pytest plugin that records which test ran which line: ``pytest -p tools.mutants.recording``, with MUTANTS_RECORD
set.

A test's subprocesses count too, as far as they inherit its environment: ``start/sitecustomize.py`` starts coverage
there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[2]
START = Path(__file__).parent / "start"
SETTINGS = """
[run]
source = {root}/src/skylift
data_file = {folder}/data
parallel = true
context = ${{MUTANTS_TEST-}}
sigterm = true
patch = _exit
disable_warnings = no-data-collected, module-not-imported, module-not-measured, no-ctracer
"""


class Recording:
    """Switches coverage's context for each test, and writes down what was run when the session ends."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._folder = tempfile.TemporaryDirectory(prefix="mutants-")
        settings = Path(self._folder.name) / "settings.ini"
        settings.write_text(SETTINGS.format(root=ROOT, folder=self._folder.name))
        self._coverage = coverage.Coverage(config_file=str(settings))
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._setup: defaultdict[str, float] = defaultdict(float)
        self._failed: set[str] = set()
        os.environ["COVERAGE_PROCESS_START"] = str(settings)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(START), os.environ.get("PYTHONPATH", "")]))
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        os.environ["MUTANTS_TEST"] = item.nodeid
        self._coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")
            del os.environ["MUTANTS_TEST"]

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[Any]:
        """What a test file runs when it is imported, all its tests have run: ``file::``."""
        if not isinstance(collector, pytest.Module):
            return (yield)
        self._coverage.switch_context(f"{collector.nodeid}::")
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration if report.when == "call" else 0.0
        # What a session or a file sets up once, a trial of any of its tests has to set up too.
        file = report.nodeid.split("::")[0]
        self._setup[file] = max(self._setup[file], report.duration if report.when == "setup" else 0.0)
        if not report.passed:
            self._failed.add(report.nodeid)

    def pytest_unconfigure(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        self._coverage.combine([self._folder.name], keep=False)
        data = self._coverage.get_data()
        files = {str(Path(file).relative_to(ROOT)): file for file in data.measured_files()}
        ran = {
            name: {line: [test for test in tests if test] for line, tests in data.contexts_by_lineno(file).items()}
            for name, file in sorted(files.items())
        }
        tests = {
            name: round(took + self._setup[name.split("::")[0]], 3)
            for name, took in self._seconds.items()
            if name not in self._failed
        }
        self._target.write_text(json.dumps({"seconds": tests, "ran": ran}))
        self._folder.cleanup()


if "MUTANTS_RECORD" in os.environ:
    recording = Recording(Path(os.environ["MUTANTS_RECORD"]))


def pytest_configure(config: pytest.Config) -> None:
    """The plugin proper is an object, because it carries what it has seen."""
    config.pluginmanager.register(recording)
