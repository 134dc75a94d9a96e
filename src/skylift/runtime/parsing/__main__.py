"""``python -m skylift.runtime.parsing REQUEST REPORT``: one JSON line in REPORT for each file of REQUEST.

Airflow is imported once; each file is read in a fork, so files cannot disturb each other, and one that hangs or crashes
is one remark. As many are read at once as there are CPUs.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from skylift.runtime.parsing.one_file import TooLong, parse
from skylift.runtime.parsing.request import ParsedFile, ParseRequest, Remark

GRACE = 10.0
"""Seconds after Airflow's own limit until a file that ignores it is killed."""


@dataclass
class _Child:
    file: str
    pid: int
    answer: int
    until: float
    said: bytearray = field(default_factory=bytearray)

    def read(self) -> None:
        """Takes what it has answered so far."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.answer, 65536):
                self.said += data


def main(request: ParseRequest, report: TextIO) -> None:
    """Reads all files."""
    for folder in (request.plugins, request.dags):
        if folder:
            sys.path.insert(0, folder)
    limit = _prepare(request)
    waiting = list(request.files)
    ignored = _ignored(request)
    children: list[_Child] = []
    while waiting or children:
        while waiting and len(children) < (os.cpu_count() or 1):
            file = waiting.pop(0)
            if file in ignored:
                _tell(report, ParsedFile(file, ignored=True))
            else:
                children.append(_start(request, file, limit))
        for child in list(children):
            if (done := _ended(child, limit)) is not None:
                children.remove(child)
                _tell(report, done)
        if children:
            time.sleep(0.002)


def _prepare(request: ParseRequest) -> float:
    """Imports Airflow, and what the files will import of it; returns the limit for one file, in seconds."""
    import airflow.sdk  # lazy: sys.path comes first
    from airflow.configuration import conf  # lazy: sys.path comes first

    for module in sorted({one for file in request.files for one in _airflow_modules(Path(request.folder) / file)}):
        with contextlib.suppress(Exception):  # the file's own import tells what is wrong
            importlib.import_module(module)
    limit = conf.getfloat("core", "dagbag_import_timeout")
    assert airflow.sdk
    gc.collect()
    gc.freeze()  # forks do not copy what the parent has
    return limit or 3600.0


def _airflow_modules(path: Path) -> Iterator[str]:
    """Modules of Airflow that a file imports at its top."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in tree.body:
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        yield from (name for name in names if name.partition(".")[0] == "airflow")


def _ignored(request: ParseRequest) -> set[str]:
    """Files of ``dags/`` that Airflow does not read."""
    from airflow.utils.file import list_py_file_paths  # lazy: after Airflow's settings are in place

    read = {os.path.relpath(one, request.folder) for one in list_py_file_paths(request.dags)}
    dags = os.path.relpath(request.dags, request.folder)
    return {file for file in request.files if file.startswith(f"{dags}/") and file not in read}


def _start(request: ParseRequest, file: str, limit: float) -> _Child:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.set_blocking(reading, False)
        return _Child(file, pid, reading, time.monotonic() + limit + GRACE)
    os.close(reading)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, limit)
    found = parse(request, file)
    signal.setitimer(signal.ITIMER_REAL, 0)
    with os.fdopen(writing, "w") as pipe:
        json.dump(found.as_json(), pipe)
    os._exit(0)


def _too_long(_signal: int, _frame: object) -> None:
    raise TooLong("importing it takes longer than [core] dagbag_import_timeout allows")


def _ended(child: _Child, limit: float) -> ParsedFile | None:
    child.read()
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    if not pid:
        if time.monotonic() > child.until:
            os.kill(child.pid, signal.SIGKILL)
        return None
    child.read()
    os.close(child.answer)
    try:
        return ParsedFile.from_json(json.loads(child.said))
    except ValueError:
        return ParsedFile(child.file, remarks=(Remark(child.file, 0, 0, "crash", _how(status, child, limit)),))


def _how(status: int, child: _Child, limit: float) -> str:
    code = os.waitstatus_to_exitcode(status)
    if time.monotonic() > child.until:
        return f"importing it takes longer than {limit:.0f} s, and does not stop"
    if code < 0:
        return f"importing it ends the process by {signal.Signals(-code).name}"
    return f"importing it ends the process with exit code {code}"


def _tell(report: TextIO, found: ParsedFile) -> None:
    told: dict[str, Any] = found.as_json()
    report.write(json.dumps(told) + "\n")
    report.flush()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as out:
        main(ParseRequest.read(Path(sys.argv[1])), out)
    # Airflow's atexit handlers take time, and nothing depends on them.
    os._exit(0)
