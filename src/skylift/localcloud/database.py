"""The SQLite file of ECS, Batch, load balancers, certificates, scaling and events: checks it before it is opened,
copies it while it is whole, and writes it."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from skylift.core.errors import DiskFull
from skylift.localcloud.damage import Damage, copy_of

HOLDS = "ECS, Batch, load balancers, scaling and certificates"
_WITHOUT = "All of these then begin with nothing; containers that still run are not ended, and must be by hand."
_MOST_COPIED = 200_000_000
_BESIDE = ("", "-wal", "-shm")


def examine(path: Path) -> Damage | None:
    """What is wrong with the file; ``None`` if nothing is, or there is none yet. Does not write to it."""
    if not path.exists():
        return None
    if path.stat().st_size == 0:
        # A process killed at its very first start leaves an empty file, and nothing else.
        others = [
            one for one in path.parent.iterdir() if one.name not in {path.name, f"{path.name}-wal", f"{path.name}-shm"}
        ]
        return damage_of(path, "it is empty") if others else None
    try:
        with contextlib.closing(_reader(path)) as disk:
            found = disk.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                return damage_of(path, str(found))
            for (table,) in disk.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%body TEXT%'").fetchall():
                # A table's name
                row = disk.execute(f"SELECT 1 FROM {table} WHERE NOT json_valid(body) LIMIT 1").fetchone()  # noqa: S608
                if row is not None:
                    return damage_of(path, f"a row of its table {table} is not JSON")
    except sqlite3.DatabaseError as error:
        return damage_of(path, str(error))
    return None


def damage_of(path: Path, why: str, holds: str = HOLDS, without: str = _WITHOUT) -> Damage:
    """Includes SQLite's files beside it: otherwise the damaged file's log would be read into the copy."""
    there = [one for one in (Path(f"{path}{ending}") for ending in _BESIDE) if one.exists()]
    aside = " && ".join(f"mv {shlex.quote(str(one))} {shlex.quote(str(one))}.damaged" for one in there)
    copy = copy_of(path)
    return Damage(path, why, holds, without, copy if copy.exists() else None, aside)


def keep_copy(path: Path) -> None:
    """Copies a whole file to its backup, if there is space: the file itself matters more."""
    if not path.exists() or path.stat().st_size > _MOST_COPIED:
        return
    new = path.with_name(f"{path.name}.copying")
    try:
        new.unlink(missing_ok=True)
        with contextlib.closing(_reader(path)) as disk, contextlib.closing(sqlite3.connect(new)) as copied:
            disk.backup(copied)
        new.chmod(0o600)
        new.replace(copy_of(path))
    except (sqlite3.Error, OSError):
        new.unlink(missing_ok=True)


def write_rows(disk: sqlite3.Connection, path: Path, who: str, statement: str, rows: Sequence[Sequence[str]]) -> None:
    """Runs a statement for each row, all in one transaction.

    Args:
        path: of the database, for the text.
        who: which service writes, for the same.

    Raises:
        DiskFull: the disk does not take it; nothing was written.
    """
    try:
        disk.execute("BEGIN IMMEDIATE")
        disk.executemany(statement, rows)
        disk.execute("COMMIT")
    except sqlite3.OperationalError as error:
        with contextlib.suppress(sqlite3.OperationalError):  # SQLite may have rolled back by itself
            disk.execute("ROLLBACK")
        raise DiskFull(f"{who} cannot write to {path}: {error}. Free some space; then it goes on.") from error


def _reader(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, and does not merge SQLite's log into the file when it is closed."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
