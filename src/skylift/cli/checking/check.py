"""Checks a project: reads what has changed since the last time, and judges all of it together."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from skylift.cli.checking import ruff
from skylift.cli.checking.known import Digests, KnownResults, files_of
from skylift.cli.checking.python import CheckPython, airflow_environment, python_of, with_requirements, with_settings
from skylift.cli.home import Home
from skylift.cli.projects.project import Project
from skylift.cli.settings_file.read import ProjectSettings
from skylift.core.containers import CONTAINER_NAME
from skylift.core.errors import Refused
from skylift.core.secrecy import hide_in
from skylift.executors.executor_config import batch_request, ecs_request
from skylift.runtime.parsing.request import ParsedFile, ParseRequest, ReadDag, Remark

NEEDS_NONE = frozenset({"aws_default"})
"""Connections that work without being there: the role's own credentials are used."""


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        dags: with the file of each.
        read: how many files were read now; the others are as they were the last time.
    """

    dags: tuple[tuple[str, ReadDag], ...]
    remarks: tuple[Remark, ...]
    files: int
    read: int
    took: float

    @property
    def errors(self) -> int:
        """How many of the remarks are errors."""
        return sum(one.error for one in self.remarks)


def check(
    home: Home,
    project: Project,
    settings: ProjectSettings,
    program: Path | None,
    say: Callable[[str], None],
    *,
    anew: bool = False,
) -> CheckResult:
    """Checks a project.

    Args:
        program: a Python with Airflow and skylift; ``None``: that of the environment's image.
        anew: read all files, whatever is known.

    Raises:
        Refused: the project cannot be checked at all.
        Unavailable: the image cannot be built now.
    """
    begun = time.monotonic()
    airs = ruff.start(project)
    files, digests = files_of(project), Digests(project)
    python = with_requirements(python_of(home, program, say), home, project, say)
    if isinstance(python, Remark):
        return CheckResult((), (python, *ruff.remarks(airs, project)), len(files.code), 0, time.monotonic() - begun)
    python = with_settings(python, settings)
    known = KnownResults(home, project, python.identity)
    results = {} if anew else known.read(files, digests)
    todo = tuple(file for file in files.code if file not in results)
    if todo:
        say(f"reading {len(todo)} of {len(files.code)} files")
        results |= read(python, project, todo, settings.executors)
        known.write(results, files, digests)
    remarks = [*together(results), *refused_configs(results), *absent(results, settings), *ruff.remarks(airs, project)]
    dags = tuple((file, dag) for file, result in sorted(results.items()) for dag in result.dags)
    return CheckResult(dags, tuple(remarks), len(files.code), len(todo), time.monotonic() - begun)


def read(
    python: CheckPython, project: Project, files: tuple[str, ...], executors: tuple[str, ...]
) -> dict[str, ParsedFile]:
    """Reads files in the image's Python.

    Raises:
        Refused: Airflow cannot be imported there; the text has its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="skylift-check-") as folder:
        asked, report, output = (Path(folder) / name for name in ("request.json", "report.jsonl", "output.txt"))
        dags = str(project.folder / "dags")
        ParseRequest(str(project.folder), dags, python.plugins, files, executors).write(asked)
        environment = {**python.environment, **airflow_environment(Path(folder) / "airflow")}
        words = [str(python.program), "-m", "skylift.runtime.parsing", str(asked), str(report)]
        with output.open("wb") as sink:
            done = subprocess.run(words, env=environment, stdout=sink, stderr=sink, cwd=folder, check=False)
        told = report.read_text().splitlines() if report.is_file() else []
        found = [ParsedFile.from_json(json.loads(line)) for line in told]
        if done.returncode or len(found) < len(files):
            last = " ".join(output.read_text(errors="replace").split())[-800:]
            raise Refused(f"{python.program} cannot read DAG files (exit code {done.returncode}): {hide_in(last)}")
    return {one.file: one for one in found}


def absent(results: dict[str, ParsedFile], settings: ProjectSettings) -> Iterator[Remark]:
    """Connections and pools that the project's own files do not have, as warnings: they may be in the environment.

    A project without such files keeps all of them elsewhere, and nothing is told.
    """
    connections = settings.connections | NEEDS_NONE
    for file, result in sorted(results.items()):
        for dag in result.dags:
            for name, line in dag.connections.items() if settings.connections else ():
                if name.lower() not in connections:
                    text = f"{dag.dag_id}: the connection {name} is neither in skylift.toml nor in .env"
                    yield Remark(file, line, 0, "connection", text, error=False)
            for name, line in dag.pools.items() if settings.pools else ():
                if name not in settings.pools:
                    text = f"{dag.dag_id}: the pool {name} is not in skylift.toml"
                    yield Remark(file, line, 0, "pool", text, error=False)


def refused_configs(results: dict[str, ParsedFile]) -> Iterator[Remark]:
    """Every ``executor_config`` that our executors would refuse."""
    for file, result in sorted(results.items()):
        for dag in result.dags:
            for one in dag.configs:
                if "skylift" not in one.executor and one.executor not in {"AwsEcsExecutor", "AwsBatchExecutor"}:
                    continue
                judge = batch_request if "Batch" in one.executor else ecs_request
                try:
                    judge.check_executor_config(one.config, CONTAINER_NAME)
                except Refused as error:
                    yield Remark(file, one.line, 0, "executor-config", f"{dag.dag_id}.{one.task_id}: {error}")


def together(results: dict[str, ParsedFile]) -> list[Remark]:
    """The remarks of all files, and what is wrong only between them."""
    found = {one: None for result in results.values() for one in result.remarks}
    homes: dict[str, list[tuple[str, int]]] = {}
    for file, result in sorted(results.items()):
        for dag in result.dags:
            homes.setdefault(dag.dag_id, []).append((file, dag.line))
    for dag_id, places in homes.items():
        for file, line in places if len(places) > 1 else ():
            others = ", ".join(other for other, _ in places if other != file) or "the same file, twice"
            found[Remark(file, line, 0, "duplicate-id", f"the DAG {dag_id} is also in {others}")] = None
    return sorted(found, key=lambda one: (one.file, one.line, one.column, one.code))
