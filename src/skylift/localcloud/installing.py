"""The command that installs what is missing. There is no release to download, so it depends on where this skylift
came from."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit


def install_line() -> str:
    """The command that installs skylift's extra ``local`` into the Python that runs us; it can be typed
    unchanged."""
    return line_for(_origin(), Path(sys.prefix), Path(sys.executable), find_spec("pip") is not None)


def line_for(origin: str, prefix: Path, python: Path, has_pip: bool) -> str:
    """Like ``install_line``, from known facts. Pure, except that it looks at the clone's folder.

    Args:
        origin: URL from which skylift was installed (PEP 610); "" if it was not recorded.
        prefix: of the Python environment.
        python: its program.
        has_pip: whether it has pip; environments made by uv have none.
    """
    parts = urlsplit(origin)
    clone = Path(unquote(parts.path)) if parts.scheme == "file" else None
    if clone is None or not (clone / "pyproject.toml").is_file():
        return f"{_installer(python, has_pip)} '.[local]' in a clone of skylift's repository"
    if prefix.is_relative_to(clone) and (clone / "Makefile").is_file():
        return f"make -C {shlex.quote(str(clone))} install"
    return f"{_installer(python, has_pip)} {shlex.quote(f'{clone}[local]')}"


def _installer(python: Path, has_pip: bool) -> str:
    quoted = shlex.quote(str(python))
    return f"{quoted} -m pip install" if has_pip else f"uv pip install --python {quoted}"


def _origin() -> str:
    """Where skylift came from according to pip or uv (``direct_url.json``)."""
    try:
        text = distribution("skylift").read_text("direct_url.json")
        return str(json.loads(text or "{}").get("url", ""))
    except (PackageNotFoundError, ValueError, AttributeError):
        return ""
