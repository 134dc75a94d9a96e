"""A template's module for tests: prepares nothing but a mark, acts as ``python``."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Sequence

from skylift.runtime import run_python as acting

PREPARED_BY: list[int] = []
"""Pid of the template."""

NUMBER = random.random()


def prepare() -> str:
    """Fails when it is told to."""
    if os.environ.get("AIRFLOW__TEST__BROKEN"):
        raise RuntimeError("told to fail")
    if os.environ.get("AIRFLOW__TEST__THREAD"):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    PREPARED_BY.append(os.getpid())
    return os.environ.get("AIRFLOW__TEST__OMITTED", "")


def fits(arguments: Sequence[str]) -> bool:
    """As the real one."""
    return acting.understands(arguments)


def act(arguments: Sequence[str]) -> None:
    """As the real one."""
    acting.run(arguments)
