"""What Certificate Manager knows, in memory and in SQLite: what a call has accepted survives ``kill -9``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skylift.core.errors import Unavailable
from skylift.localcloud.certificates.authority import KeyPair
from skylift.localcloud.database import write_rows

Document = dict[str, Any]


@dataclass
class StoredCertificate:
    """One certificate.

    Attributes:
        arn: its ARN.
        shown: what DescribeCertificate shows, but for what can be read in the certificate; times in seconds since the
            epoch.
        pair: the certificate itself.
        tags: a tag without a value has an empty one.
        token: of the request that made it, or nothing.
    """

    arn: str
    shown: Document
    pair: KeyPair
    tags: dict[str, str] = field(default_factory=dict)
    token: str = ""


class CertificateStore:
    """An in-memory store, backed by disk: change what you find here, then ``save`` it.

    Attributes:
        certificates: by ARN.
    """

    def __init__(self, path: Path) -> None:
        self.certificates: dict[str, StoredCertificate] = {}
        self._path = path
        self._disk = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._disk.execute("PRAGMA journal_mode=WAL")
        self._disk.execute("PRAGMA synchronous=NORMAL")
        self._disk.execute("CREATE TABLE IF NOT EXISTS acm (arn TEXT PRIMARY KEY, body TEXT NOT NULL)")
        for arn, body in self._disk.execute("SELECT arn, body FROM acm ORDER BY rowid").fetchall():
            self.certificates[arn] = _read(body)
        if path.is_file():
            path.chmod(0o600)  # it has private keys

    def pair(self, arn: str) -> KeyPair | None:
        """The certificate with its key."""
        found = self.certificates.get(arn)
        return found.pair if found is not None else None

    def save(self, one: StoredCertificate) -> None:
        """Writes one; a new one becomes known.

        Raises:
            Unavailable: the disk cannot take it (it is full); a known one returns to its last written state.
        """
        statement = "INSERT INTO acm VALUES (?, ?) ON CONFLICT (arn) DO UPDATE SET body = excluded.body"
        try:
            self._write(statement, (one.arn, json.dumps(asdict(one))))
        except Unavailable:
            row = self._disk.execute("SELECT body FROM acm WHERE arn = ?", (one.arn,)).fetchone()
            if row is not None:
                vars(one).update(vars(_read(row[0])))
            raise
        self.certificates[one.arn] = one

    def remove(self, arn: str) -> None:
        """Forgets one. Raises ``Unavailable``: it is not forgotten."""
        self._write("DELETE FROM acm WHERE arn = ?", (arn,))
        self.certificates.pop(arn, None)

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        self._disk.close()

    def _write(self, statement: str, row: Sequence[str]) -> None:
        write_rows(self._disk, self._path, "Certificate Manager", statement, [row])


def _read(body: str) -> StoredCertificate:
    read: Mapping[str, Any] = json.loads(body)
    return StoredCertificate(**{**read, "pair": KeyPair(**read["pair"])})
