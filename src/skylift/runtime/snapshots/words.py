"""Names that a snapshot's container and the command line share."""

from __future__ import annotations

ARCHIVE, MANIFEST = "database.tar.gz", "manifest.json"
TEMPORARY = 75
"""Exit code: AWS or the database is unreachable, so the same may work later (EX_TEMPFAIL)."""
PAUSE = "--pause"
"""A word of ``restore``: all DAGs are paused afterwards, as in a clone."""
