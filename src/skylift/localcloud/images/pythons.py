"""The Python of images: the one that runs skylift, or a newer one of this machine, with which containers cost less."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from skylift.core.errors import Refused
from skylift.core.settings import Setting
from skylift.localcloud.containers.immortal import VERSIONS as CHEAP

SUPPORTED = ((3, 11), (3, 12), (3, 13))

IMAGE_PYTHON = Setting(
    "image_python",
    str,
    "",
    "The Python of images, as a path. By default the one that runs skylift if it is 3.12 or newer, otherwise the first "
    "3.12 or 3.13 of this machine (on PATH, of uv, of pyenv), because a container then costs a sixth less CPU.",
)

_FACTS = """
import bz2, ctypes, json, lzma, platform, sqlite3, ssl, sys, sysconfig
threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
path = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([sys.implementation.name, platform.python_version(), sysconfig.get_platform(), path, threaded]))
"""
"""What a Python says of itself; one that was built without a module that Airflow needs says nothing."""
_SECONDS = 20


@dataclass(frozen=True)
class ImagePython:
    """A Python under which images are made.

    Attributes:
        implementation, version, platform: e.g. ``cpython``, ``3.12.1``, ``linux-x86_64``.
        path: its program, of no virtual environment.
    """

    implementation: str
    version: str
    platform: str
    path: Path

    @property
    def minor(self) -> tuple[int, int]:
        """E.g. ``(3, 12)``."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


def image_python(environ: Mapping[str, str], own: ImagePython | None = None) -> ImagePython:
    """The Python of images in this environment.

    Args:
        own: the one that runs skylift; ``None``: this one.

    Raises:
        Refused: the one that was named cannot be used, or the one that runs us is not supported.
    """
    wanted = ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
    if named := IMAGE_PYTHON.read(environ):
        found = _asked(Path(named))
        if found is None or found.minor not in SUPPORTED:
            raise Refused(f"{IMAGE_PYTHON.env}: {named} is not a whole Python {wanted}. Name another, or unset it.")
        return found
    own = own or _own()
    if own.minor not in SUPPORTED:
        raise Refused(
            f"Python {own.version} runs skylift, but images need one of {wanted}: "
            "install one of them and make skylift's virtual environment with it."
        )
    if own.minor in CHEAP:
        return own
    candidates = (_asked(path) for path in _places(environ))
    return next((one for one in candidates if one is not None and one.minor in CHEAP), own)


def _own() -> ImagePython:
    # A virtual environment refers to its Python by path: another path is another image.
    path = Path(getattr(sys, "_base_executable", None) or sys.executable)
    return ImagePython(sys.implementation.name, platform.python_version(), sysconfig.get_platform(), path)


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    """Programs that may be such a Python: 3.12, which Amazon MWAA has for Airflow 3, before 3.13."""
    home = Path(environ.get("HOME") or "/nonexistent")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    for major, minor in CHEAP:
        name = f"python{major}.{minor}"
        # A shim of pyenv's stands for a version that may be switched off; its own folder is looked at below.
        on_path = [Path(one) for one in environ.get("PATH", "").split(os.pathsep) if one and "/shims" not in one]
        yield from (one / name for one in on_path if os.access(one / name, os.X_OK))
        for folder, pattern in ((uv, f"cpython-{major}.{minor}.*/bin"), (pyenv, f"{major}.{minor}.*/bin")):
            # The newest of them; a name that is no number ("3.13.0t") is another build.
            yield from sorted((one / name for one in folder.glob(pattern) if (one / name).is_file()), reverse=True)


@functools.cache
def _asked(path: Path) -> ImagePython | None:
    """What a Python says of itself; ``None`` if it does not answer, is free-threaded, or lacks a module."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", _FACTS], capture_output=True, text=True, timeout=_SECONDS, cwd="/", check=False
        )
        implementation, version, machine, program, threaded = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return (
        None
        if threaded or implementation != "cpython"
        else ImagePython(implementation, version, machine, Path(program))
    )
