"""The tables of Airflow's database, in an order in which rows can be put back: what is referred to comes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skylift.core.errors import Refused

VERSION = "SELECT version_num FROM alembic_version"
COLUMNS = """
    SELECT c.relname, a.attname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ORDER BY c.relname, a.attnum
"""
REFERENCES = """
    SELECT c.relname, f.relname
    FROM pg_constraint r JOIN pg_class c ON c.oid = r.conrelid JOIN pg_class f ON f.oid = r.confrelid
    WHERE r.contype = 'f' AND c.oid <> f.oid
"""
SEQUENCES = """
    SELECT pg_get_serial_sequence(quote_ident(table_name), column_name), table_name, column_name
    FROM information_schema.columns
    WHERE table_schema = 'public' AND pg_get_serial_sequence(quote_ident(table_name), column_name) IS NOT NULL
"""
LEFT_OUT = ("alembic_version", "skylift_", "celery_")
"""Beginnings of tables that stay as they are. The version says which Airflow made the tables, and a snapshot is put
only into tables of the same. The others are made when they are first used: sign-in tokens that must not be used again,
and results that Celery has told already."""


def columns_of(cursor: Any) -> dict[str, list[str]]:
    """Columns by table."""
    cursor.execute(COLUMNS)
    found: dict[str, list[str]] = {}
    for table, column in cursor.fetchall():
        if not table.startswith(LEFT_OUT):
            found.setdefault(table, []).append(column)
    return found


def version_of(cursor: Any) -> str:
    """Which of Airflow's migrations the database has."""
    cursor.execute(VERSION)
    return str(cursor.fetchone()[0])


def in_order(tables: Iterable[str], references: Iterable[tuple[str, str]]) -> list[str]:
    """Tables so that each comes after those to which it refers. Pure.

    Raises:
        Refused: they refer to each other in a circle.
    """
    names = sorted(tables)
    needs: Mapping[str, set[str]] = {name: set() for name in names}
    for table, other in references:
        if table in needs and other in needs:
            needs[table].add(other)
    found: list[str] = []
    while len(found) < len(names):
        ready = [name for name in names if name not in found and needs[name] <= set(found)]
        if not ready:
            circle = ", ".join(name for name in names if name not in found)
            raise Refused(f"These tables refer to each other, so their rows cannot be put back: {circle}")
        found += ready
    return found


def quoted(name: str) -> str:
    """A name for SQL."""
    return '"' + name.replace('"', '""') + '"'
