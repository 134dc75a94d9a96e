"""Which images running processes still use, so that none is taken away from under a container.

A process is asked three things, because Airflow's processes overwrite their own command line and environment with a
title: what it was started with, what it has in its environment, and which libraries it has mapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil


def roots_in_use(roots: Iterable[Path]) -> set[Path]:
    """Those of ``roots`` that some process of this machine, as far as we may look, was started from."""
    wanted = {f"{root}/": root for root in roots}
    used: set[Path] = set()
    for process in psutil.process_iter() if wanted else ():
        text = _traces(process)
        used |= {root for prefix, root in wanted.items() if prefix in text}
    return used


def _traces(process: psutil.Process) -> str:
    pieces: list[str] = []
    try:
        pieces += process.cmdline()
        pieces += process.environ().values()
    except (psutil.Error, OSError):
        pieces.append("")  # gone, or another user's: that one cannot have been started from our private folder
    try:
        pieces.append(Path(f"/proc/{process.pid}/maps").read_text(errors="replace"))
    except OSError:
        pieces.append("")
    return "\n".join(pieces)
