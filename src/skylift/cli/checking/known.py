"""What ``skylift check`` remembers: the result of each file, as long as nothing that it depends on has changed.

A file depends on itself, on the files and folders of the project that it opened while it was imported, and on the
Python that read it. A file that had an error is read again after any change of the project.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.cli.home import Home, write_private
from skylift.cli.projects.project import IGNORED_FOLDERS, TEMPORARY, Project, walk
from skylift.runtime.parsing.request import ParsedFile

FORM = 1
"""Raised when the form of what is remembered changes."""


class Digests:
    """Digests of the project's files and folders as they are now; each is computed once."""

    def __init__(self, project: Project) -> None:
        self._folder = project.folder
        self._known: dict[str, str] = {}

    def of(self, path: str) -> str:
        """A file's content or a folder's names; empty if it is not there."""
        if path not in self._known:
            self._known[path] = _digest(self._folder / path)
        return self._known[path]

    def of_all(self, files: Iterable[str]) -> str:
        """Names and contents of many files."""
        told = "\n".join(f"{file} {self.of(file)}" for file in sorted(files))
        return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Checked:
    """Files of a project to look at: ``code`` are Python files that Airflow may read, ``every`` is all of dags and
    plugins."""

    code: tuple[str, ...]
    every: tuple[str, ...]


def files_of(project: Project) -> Checked:
    """The files of ``dags/`` and ``plugins/``."""
    every = [
        path.relative_to(project.folder).as_posix()
        for top in ("dags", "plugins")
        if (project.folder / top).is_dir()
        for path in walk(project.folder / top)
    ]
    return Checked(tuple(one for one in every if one.endswith(".py")), tuple(every))


class KnownResults:
    """The results of one project.

    Args:
        identity: of the Python and everything else that all files depend on.
    """

    def __init__(self, home: Home, project: Project, identity: str) -> None:
        name = hashlib.sha256(str(project.folder).encode()).hexdigest()[:32]
        self._file = home.folder / "cache" / "check" / f"{name}.json"
        self._identity = f"{FORM} {identity}"

    def read(self, files: Checked, digests: Digests) -> dict[str, ParsedFile]:
        """The results that are still true."""
        try:
            found = json.loads(self._file.read_text())
            if found["identity"] != self._identity:
                return {}
            everything = digests.of_all(files.every)
            return {
                file: ParsedFile.from_json(entry["result"])
                for file, entry in found["files"].items()
                if file in files.code and _is_true(entry, digests, everything)
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # nothing, or of another version: all files are read again

    def write(self, results: Mapping[str, ParsedFile], files: Checked, digests: Digests) -> None:
        """Replaces what is remembered."""
        everything = digests.of_all(files.every)
        entries: dict[str, Any] = {}
        for file, result in results.items():
            on = {file, *result.read, *result.listed, *_ignore_files(file)}
            entries[file] = {
                "result": result.as_json(),
                "on": {one: digests.of(one) for one in sorted(on)},
                "everything": everything if any(one.error for one in result.remarks) else "",
            }
        write_private(self._file, json.dumps({"identity": self._identity, "files": entries}) + "\n")


def _is_true(entry: Mapping[str, Any], digests: Digests, everything: str) -> bool:
    return entry["everything"] in {"", everything} and all(digests.of(one) == was for one, was in entry["on"].items())


def _ignore_files(file: str) -> list[str]:
    """``.airflowignore`` of its folder and of those above."""
    parents = Path(file).parents
    return [(one / ".airflowignore").as_posix() for one in parents if one.parts]


def _digest(path: Path) -> str:
    try:
        if path.is_dir():
            content = "\n".join(sorted(name for name in os.listdir(path) if not _is_noise(name)))
            return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _is_noise(name: str) -> bool:
    return name in IGNORED_FOLDERS or bool(TEMPORARY.fullmatch(name))
