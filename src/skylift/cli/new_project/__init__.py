"""``skylift init``: a new project. Its files are in ``files/``, with ``.in`` at their ends: they are not our code."""

from __future__ import annotations

import json
from pathlib import Path

from skylift.cli.projects.project import SETTINGS, checked_name, default_name
from skylift.cli.settings_file.example import EXAMPLE
from skylift.cli.settings_file.schema import SCHEMA
from skylift.core.errors import Refused

FILES = Path(__file__).with_name("files")
NAME = "__NAME__"
"""Stands in the files for the environment's name."""

SCHEMA_FILE = ".vscode/skylift.schema.json"
KEEPS = ("dags", "requirements.txt", "plugins", SETTINGS)
"""What a folder that is a project already has. Other files, as of a new repository, stay as they are."""


def make(folder: Path, name: str = "") -> list[str]:
    """Writes the files of a new project; returns their paths below the folder, sorted. A file that is there stays.

    Args:
        name: of the environment; default: the folder's name.

    Raises:
        Refused: the folder has a project already, or its name cannot be an environment's.
    """
    folder = folder.expanduser().absolute()
    chosen = checked_name(name or default_name(folder))
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} is a file. Give the name of a new folder.")
    if there := [one for one in KEEPS if (folder / one).exists()]:
        raise Refused(f"{folder} has {', '.join(there)} already. To start it: skylift up {folder}")
    written = []
    for path, text in sorted(_files(chosen).items()):
        target = folder / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        written.append(path)
    return written


def _files(name: str) -> dict[str, str]:
    found = {
        source.relative_to(FILES).with_suffix("").as_posix(): source.read_text().replace(NAME, name)
        for source in FILES.rglob("*.in")
    }
    settings = EXAMPLE.replace('# name = "demo"  ', f"name = {json.dumps(name)}  ", 1)
    return found | {SETTINGS: f"#:schema {SCHEMA_FILE}\n{settings}", SCHEMA_FILE: json.dumps(SCHEMA, indent=2) + "\n"}
