"""``snapshot s3://bucket/prefix`` and ``restore s3://bucket/prefix``: one-off containers with the database's address.

A snapshot is one archive with a file for each table (PostgreSQL's COPY), and a manifest, which is written last: without
it there is no snapshot. All tables are read in one REPEATABLE READ transaction, so they fit together while Airflow goes
on. A restore empties and fills all tables in one transaction: whenever it is killed, the database has the old rows or
the new ones.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from skylift.aws.s3_objects import ObjectRef, S3Objects
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.core.names import split_s3_url
from skylift.runtime.snapshots.tables import REFERENCES, SEQUENCES, columns_of, in_order, quoted, version_of
from skylift.runtime.snapshots.words import ARCHIVE, MANIFEST, PAUSE, TEMPORARY

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
FORM = 1


def main(word: str, arguments: list[str], environ: Mapping[str, str], objects: S3Objects | None = None) -> int:
    """Takes a snapshot, or puts one back. Exit code: 0 done, ``TEMPORARY``, 78 refused."""
    place = next((one for one in arguments if one.startswith("s3://")), "")
    try:
        bucket, prefix = split_s3_url(place)
        connection = _connected(environ[DATABASE])
        s3 = objects or S3Objects()
        with tempfile.TemporaryDirectory(prefix="skylift-snapshot-") as folder:
            if word == "snapshot":
                told = take(connection, Path(folder), bucket, prefix, s3)
            else:
                told = put_back(connection, Path(folder), bucket, prefix, s3, pause=PAUSE in arguments)
        connection.close()
    except (SkyliftError, ValueError) as error:
        print(f"skylift: {word}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return TEMPORARY if isinstance(error, Unavailable) else 78
    print(f"skylift: {word}: {told}", flush=True)  # noqa: T201
    return 0


def _connected(url: str) -> Any:
    engine = create_engine(url)
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.OperationalError as error:
        raise Unavailable(f"the database cannot be reached now: {' '.join(str(error).split())}") from error


def take(connection: Any, folder: Path, bucket: str, prefix: str, s3: S3Objects) -> str:
    """Reads all tables as they are at one moment, and writes them to S3; the manifest comes last."""
    connection.rollback()
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        version, columns = version_of(cursor), columns_of(cursor)
        cursor.execute(REFERENCES)
        order = in_order(columns, cursor.fetchall())
        rows = {}
        archive = folder / ARCHIVE
        with tarfile.open(archive, "w:gz", compresslevel=3) as packed:
            for table in order:
                file = folder / "rows"
                with file.open("wb") as out:
                    cursor.copy_expert(f"COPY {_what(table, columns[table])} TO STDOUT", out)
                rows[table] = cursor.rowcount
                packed.add(file, table)
    connection.rollback()
    manifest = {
        "form": FORM,
        "version": version,
        "tables": [{"name": table, "columns": columns[table], "rows": rows[table]} for table in order],
    }
    s3.put(bucket, f"{prefix}/{ARCHIVE}", archive)
    s3.put(bucket, f"{prefix}/{MANIFEST}", json.dumps(manifest).encode())
    return f"{sum(rows.values())} rows of {len(order)} tables"


def put_back(connection: Any, folder: Path, bucket: str, prefix: str, s3: S3Objects, *, pause: bool) -> str:
    """Replaces all rows of all tables in one transaction.

    Raises:
        Refused: there is no such snapshot, or it is of another Airflow.
    """
    manifest = json.loads(_fetched(s3, ObjectRef(bucket, f"{prefix}/{MANIFEST}"), folder / MANIFEST).read_bytes())
    archive = _fetched(s3, ObjectRef(bucket, f"{prefix}/{ARCHIVE}"), folder / ARCHIVE)
    connection.rollback()
    with connection.cursor() as cursor:
        _check(manifest, version_of(cursor), columns_of(cursor))
        tables = {one["name"]: one for one in manifest["tables"]}
        cursor.execute(f"TRUNCATE {', '.join(map(quoted, tables))}")
        total = 0
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                one, stream = tables.pop(member.name), packed.extractfile(member)
                cursor.copy_expert(f"COPY {_what(one['name'], one['columns'])} FROM STDIN", stream)
                if cursor.rowcount != one["rows"]:
                    raise Refused(f"the snapshot is damaged: {one['name']} has {cursor.rowcount} rows of {one['rows']}")
                total += cursor.rowcount
        if tables:
            raise Refused(f"the snapshot is damaged: it has no rows of {', '.join(sorted(tables))}")
        _set_sequences(cursor)
        if pause:
            cursor.execute("UPDATE dag SET is_paused = true")
    connection.commit()
    return f"{total} rows of {len(manifest['tables'])} tables"


def _check(manifest: Mapping[str, Any], version: str, columns: Mapping[str, list[str]]) -> None:
    if manifest.get("form") != FORM:
        raise Refused("the snapshot was made by another skylift, which wrote it in another form")
    if manifest["version"] != version:
        raise Refused(f"the snapshot is of another Airflow (database {manifest['version']}; here {version})")
    wanted = {one["name"]: one["columns"] for one in manifest["tables"]}
    if {name: sorted(one) for name, one in wanted.items()} != {name: sorted(one) for name, one in columns.items()}:
        raise Refused("the snapshot has other tables or columns than the database")


def _set_sequences(cursor: Any) -> None:
    """Numbers go on after the highest that is there."""
    cursor.execute(SEQUENCES)
    for sequence, table, column in cursor.fetchall():
        cursor.execute(f"SELECT max({quoted(column)}) FROM {quoted(table)}")  # noqa: S608 - names of the database
        (highest,) = cursor.fetchone()
        cursor.execute("SELECT setval(%s, %s, %s)", (sequence, highest or 1, highest is not None))


def _fetched(s3: S3Objects, ref: ObjectRef, file: Path) -> Path:
    if s3.fetch(ref, file) is None:
        raise Refused(f"there is no snapshot s3://{ref.bucket}/{ref.key.rpartition('/')[0]}")
    return file


def _what(table: str, columns: list[str]) -> str:
    return f"{quoted(table)} ({', '.join(map(quoted, columns))})"
