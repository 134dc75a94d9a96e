"""Reads one file in this process, which is a fork made for it: the file may exit, hang, or change whatever it likes."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skylift.runtime.parsing.request import ParsedFile, ParseRequest, ReadConfig, ReadDag, Remark

LONGEST = 1000
"""Characters of an exception's text that are kept."""


class TooLong(Exception):
    """Importing the file takes longer than Airflow allows."""


class FilesSeen:
    """Which files and folders of the project this process opened or listed. An audit hook cannot be removed, so this
    is for a process that ends soon."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder) + os.sep
        self._files: set[str] = set()
        self._folders: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in {"open", "os.listdir", "os.scandir"} or not arguments or not isinstance(arguments[0], str):
            return
        path = os.path.abspath(arguments[0])
        if (path + os.sep).startswith(self._folder):
            (self._files if event == "open" else self._folders).add(path)

    def files(self) -> list[str]:
        """Files that were opened, and the sources of imported modules: Python may open their bytecode alone."""
        sources = {str(path) for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))}
        ours = {one for one in self._files | sources if one.startswith(self._folder) and not one.endswith(".pyc")}
        return sorted(one.removeprefix(self._folder) for one in ours)

    def folders(self) -> list[str]:
        """Folders that were listed."""
        return sorted((one + os.sep).removeprefix(self._folder).rstrip(os.sep) for one in self._folders)


def parse(request: ParseRequest, file: str) -> ParsedFile:
    """Imports a file and looks at its DAGs."""
    folder = Path(request.folder)
    seen = FilesSeen(folder)
    path = folder / file
    remarks: list[Remark] = []
    dags: list[ReadDag] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", DeprecationWarning)
        try:
            found = imported(path, of_dags=_is_below(path, Path(request.dags)))
        except BaseException as error:  # noqa: BLE001  a DAG file may raise anything, also SystemExit
            remarks.append(remark_of(error, file, folder))
            found = []
        for dag in found:
            text = path.read_text(errors="replace")
            read, wrong = _judged(dag, file, text, request.executors)
            dags.append(read)
            remarks += wrong
    remarks += _deprecations(warned, folder)
    return ParsedFile(file, False, tuple(dags), tuple(remarks), tuple(seen.files()), tuple(seen.folders()))


def imported(path: Path, *, of_dags: bool) -> list[Any]:
    """The DAGs of a file, in the order of their ids."""
    from airflow.sdk import DAG  # lazy: the parent has imported Airflow before it forked
    from airflow.sdk.definitions._internal.contextmanager import DagContext  # lazy: as above
    from airflow.utils.file import get_unique_dag_module_name  # lazy: as above

    name = get_unique_dag_module_name(str(path)) if of_dags else path.stem
    DagContext.autoregistered_dags.clear()
    DagContext.current_autoregister_module_name = name
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    found = {id(one): one for one in vars(module).values() if isinstance(one, DAG)}
    found |= {id(one): one for one, _ in DagContext.autoregistered_dags}
    for dag in found.values():
        dag.fileloc = str(path)
    return sorted(found.values(), key=lambda dag: str(dag.dag_id))


def _judged(dag: Any, file: str, text: str, executors: tuple[str, ...]) -> tuple[ReadDag, list[Remark]]:
    """One DAG, and what is wrong with it: by Airflow's own rules, and by ours for ``executor`` and
    ``executor_config``."""
    from airflow import settings  # lazy: the parent has imported Airflow before it forked

    line = line_of(text, dag.dag_id)
    remarks = []
    try:
        dag.validate()
        dag.check_cycle()
        settings.dag_policy(dag)
        for task in dag.tasks:
            settings.task_policy(task)
    except Exception as error:  # noqa: BLE001  Airflow's rules, and the user's policies
        code = "cycle" if "Cycle" in type(error).__name__ else "dag"
        remarks.append(Remark(file, line, 0, code, f"{dag.dag_id}: {_told(error)}"))
    configs = []
    for task in dag.tasks:
        at = line_of(text, task.task_id.rpartition(".")[2]) or line
        if told := _unknown(getattr(task, "executor", None), executors):
            remarks.append(Remark(file, at, 0, "executor", f"{dag.dag_id}.{task.task_id}: {told}"))
        elif (config := _config(task, at, executors)) is not None:
            configs.append(config)
    uses = [(name, value) for task in dag.tasks for name, value in _names(task)]
    connections = {value: line_of(text, value) for name, value in uses if name != "pool"}
    pools = {value: line_of(text, value) for name, value in uses if name == "pool"}
    return ReadDag(dag.dag_id, line, len(dag.tasks), connections, pools, tuple(configs)), remarks


def _unknown(named: str | None, executors: Iterable[str]) -> str:
    """Why an Airflow task's executor cannot run it; empty if it can."""
    if not named:
        return ""
    known = {one.rpartition(":")[2] for one in executors}
    words = {word for one in executors for word in (one, one.partition(":")[0])} | known
    if named in words | {one.rpartition(".")[2] for one in known}:
        return ""
    return f"executor {named!r} is none of the environment's: {', '.join(executors)}"


def _config(task: Any, line: int, executors: tuple[str, ...]) -> ReadConfig | None:
    config = getattr(task, "executor_config", None)
    if not config:
        return None
    executor = str(getattr(task, "executor", None) or next(iter(executors), ""))
    plain = json.loads(json.dumps(config, default=repr))
    return ReadConfig(task.task_id, line, executor, plain)


def _names(task: Any) -> Iterable[tuple[str, str]]:
    """``(attribute, value)`` of connections and of the pool that a task uses."""
    values: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    for name, value in values.items():
        if not isinstance(value, str) or not value or "{{" in value:
            continue
        if name == "conn_id" or name.endswith("_conn_id") or (name == "pool" and value != "default_pool"):
            yield name, value


def remark_of(error: BaseException, file: str, folder: Path) -> Remark:
    """Where an exception comes from: the last line of the project's own files that it passed."""
    if isinstance(error, SyntaxError) and _is_below(Path(error.filename or ""), folder):
        where = _relative(str(error.filename), folder)
        return Remark(where, error.lineno or 0, error.offset or 0, "syntax", f"{type(error).__name__}: {error.msg}")
    frames = [one for one in traceback.extract_tb(error.__traceback__) if _is_below(Path(one.filename), folder)]
    where, line = (_relative(frames[-1].filename, folder), frames[-1].lineno or 0) if frames else (file, 0)
    if isinstance(error, SystemExit):
        return Remark(where, line, 0, "exit", f"it ends the process while it is imported (exit code {error.code})")
    code = "timeout" if isinstance(error, TooLong) else "import"
    return Remark(where, line, 0, code, _told(error))


def line_of(text: str, word: str) -> int:
    """The first line with a word that is not part of another; 0 if there is none."""
    found = re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text)
    return text.count("\n", 0, found.start()) + 1 if found else 0


def _deprecations(warned: Iterable[warnings.WarningMessage], folder: Path) -> list[Remark]:
    told = {
        (_relative(one.filename, folder), one.lineno, str(one.message))
        for one in warned
        if issubclass(one.category, DeprecationWarning) and _is_below(Path(one.filename), folder)
    }
    return [Remark(file, line, 0, "deprecated", text[:LONGEST], error=False) for file, line, text in sorted(told)]


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())[:LONGEST]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_below(path: Path, folder: Path) -> bool:
    return path.is_absolute() and path.is_relative_to(folder)


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(path, folder)
