"""Ruff's rules about Airflow (AIR: what Airflow 3 removed or deprecates), where ruff is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from skylift.cli.projects.project import Project
from skylift.runtime.parsing.request import Remark

Running = subprocess.Popen[str]


def start(project: Project) -> Running | None:
    """Starts ruff; ``None`` where there is none."""
    beside = Path(sys.executable).with_name("ruff")
    program = str(beside) if os.access(beside, os.X_OK) else shutil.which("ruff")
    if program is None:
        return None
    tops = [top for top in ("dags", "plugins") if (project.folder / top).is_dir()]
    words = [
        program,
        "check",
        "--select",
        "AIR",
        "--output-format",
        "json",
        "--exit-zero",
        "--no-cache",
        "--quiet",
        *tops,
    ]
    return subprocess.Popen(
        words,
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def remarks(running: Running | None, project: Project) -> list[Remark]:
    """What it says, as warnings. Files that do not parse are told without it."""
    if running is None:
        return []
    told, _ = running.communicate()
    try:
        found = json.loads(told or "[]")
    except ValueError:
        return []  # a ruff without these rules, or with a configuration of the user that it refuses
    return [
        Remark(
            os.path.relpath(one["filename"], project.folder),
            one["location"]["row"],
            one["location"]["column"],
            one["code"],
            one["message"],
            error=False,
        )
        for one in found
        if str(one.get("code") or "").startswith("AIR")
    ]
