"""The environment that the working folder means: that of the project in it, or in a folder above."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from skylift.cli.home import find_home
from skylift.cli.projects.buckets import followed
from skylift.cli.projects.project import SETTINGS, Project, default_name, told_name, up_command
from skylift.core.errors import Refused


def meant(known: Iterable[str]) -> str | None:
    """The environment of the project that the working folder is in; ``None`` if it is in none. Errors as ``named``.

    Args:
        known: the names of all environments.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:  # somebody has deleted the folder
        return None
    folders = {name: one.project.folder for name, one in followed(find_home(os.environ)).items()}
    return named(here, known, folders)


def named(here: Path, known: Iterable[str], folders: Mapping[str, Path]) -> str | None:
    """The same, of any folder: what the nearest skylift.toml names, else what was made from the folder.

    Args:
        folders: the folders from which ``skylift up`` made environments, by name.

    Raises:
        Refused: skylift.toml names an environment that does not exist, or several were made from the folder.
    """
    names = sorted(known)
    for folder in (here, *here.parents):
        says = (folder / SETTINGS).exists()
        made = [name for name in names if folders.get(name) == folder]
        if says and (default := default_name(folder)) in names:
            return default
        if len(made) == 1:
            return made[0]
        if made:
            raise Refused(f"Which environment? {', '.join(made)} were made from {folder}. Name one.")
        if told := told_name(folder):
            raise Refused(
                f"There is no environment {told}, which {folder / SETTINGS} names. There are: "
                f"{', '.join(names) or 'none'}. To make it: {up_command(Project(folder, told))}"
            )
        if says:
            return None
    return None
