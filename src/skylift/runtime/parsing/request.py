"""What ``skylift check`` asks of the image's Python, and the form of its answers. Both sides import this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ParseRequest:
    """Which files are to be read.

    Attributes:
        folder: the project.
        dags, plugins: folders of it; ``plugins`` may be elsewhere (unpacked), or empty.
        files: paths below ``folder``.
        executors: as ``[core] executor`` lists them, in words.
    """

    folder: str
    dags: str
    plugins: str
    files: tuple[str, ...]
    executors: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> ParseRequest:
        """The inverse of ``write``."""
        found = json.loads(path.read_text())
        return cls(**{**found, "files": tuple(found["files"]), "executors": tuple(found["executors"])})


@dataclass(frozen=True)
class Remark:
    """Something about one place of one file.

    Attributes:
        file: below the project's folder; absolute if it is elsewhere.
        line, column: from 1; 0 if it is about the whole file.
        code: a word that stays the same, e.g. ``import``.
        error: whether Airflow could not use the file; else it is a warning.
    """

    file: str
    line: int
    column: int
    code: str
    text: str
    error: bool = True


@dataclass(frozen=True)
class ReadConfig:
    """The ``executor_config`` of one Airflow task, as plain JSON; who knows executors judges it."""

    task_id: str
    line: int
    executor: str
    config: Any


@dataclass(frozen=True)
class ReadDag:
    """One DAG that a file has.

    Attributes:
        tasks: how many Airflow tasks.
        connections, pools: names that its tasks use, with the line where the name stands (0: not found).
    """

    dag_id: str
    line: int
    tasks: int
    connections: Mapping[str, int] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)
    configs: tuple[ReadConfig, ...] = ()


@dataclass(frozen=True)
class ParsedFile:
    """What one file has.

    Attributes:
        ignored: Airflow does not read it (``.airflowignore``, or it has not the words airflow and dag).
        read, listed: files and folders of the project that it opened or listed while it was read.
    """

    file: str
    ignored: bool = False
    dags: tuple[ReadDag, ...] = ()
    remarks: tuple[Remark, ...] = ()
    read: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain lists, dicts and strings."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> ParsedFile:
        """The inverse of ``as_json``."""
        return cls(
            found["file"],
            found["ignored"],
            tuple(
                ReadDag(**{**one, "configs": tuple(ReadConfig(**c) for c in one["configs"])}) for one in found["dags"]
            ),
            tuple(Remark(**one) for one in found["remarks"]),
            tuple(found["read"]),
            tuple(found["listed"]),
        )
