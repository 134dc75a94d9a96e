"""Which images running processes still use, so that none is removed while a container uses it.

It checks three things of a process, because Airflow's processes overwrite their own command line and environment with a
title: its command line, its environment, and its mapped libraries.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil


def roots_in_use(roots: Iterable[Path]) -> set[Path]:
    """Those of ``roots`` from which some process of this machine was started, as far as we may see."""
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
        pieces.append("")  # gone, or another user's: that one cannot come from our private folder
    try:
        pieces.append(Path(f"/proc/{process.pid}/maps").read_text(errors="replace"))
    except OSError:
        pieces.append("")
    return "\n".join(pieces)
