"""What is mounted into a container, and the words for it that a shim reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skylift.core.settings import Setting, flag

READ_ONLY_ROOT = "read-only root"
"""The first line of a shim's word when the container may write only into what is mounted."""


def folders(text: str) -> tuple[Path, ...]:
    """Absolute folders, separated by colons. Raises ``ValueError``."""
    found = tuple(Path(word) for word in text.split(":") if word)
    if not all(folder.is_absolute() and folder != Path("/") for folder in found):
        raise ValueError("expected absolute folders other than /, separated by colons")
    return found


HOST_FOLDERS: Setting[tuple[Path, ...]] = Setting(
    "host_folders",
    folders,
    (),
    "Folders of this machine, separated by colons, that task definitions may mount, with all below them, as "
    "host.sourcePath of a volume. Empty: none.",
)


MWAA_PATHS: Setting[bool] = Setting(
    "mwaa_paths",
    flag,
    False,
    "Whether each container of Airflow's image that is a process sees its AIRFLOW_HOME at /usr/local/airflow, too, as "
    "on MWAA. It needs a mount namespace: 3 to 4 ms of CPU a container, and no sudo in it unless you are root.",
)


@dataclass(frozen=True)
class Mount:
    """A folder (or a file) of this machine that a container sees elsewhere.

    Attributes:
        source: where it is.
        target: where the container sees it, absolute.
        read_only: whether the container may only read it.
    """

    source: Path
    target: str
    read_only: bool = False


def shim_word(mounts: Sequence[Mount], read_only_root: bool) -> str:
    """What the shim must know: one line for each mount; empty if the container needs no file system of its own."""
    lines = [f"{'ro' if one.read_only else 'rw'}\t{one.source}\t{one.target}" for one in mounts]
    return "\n".join([READ_ONLY_ROOT, *lines] if read_only_root else lines)


def allowed(source: Path, allow: Sequence[Path]) -> bool:
    """Whether a folder is one of those that may be mounted, or below one; symbolic links are followed."""
    real = source.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in allow)
