"""Runs the uv of our own installation, and says in our words why it failed."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from skylift.core.errors import Broken, Refused, SkyliftError, Unavailable
from skylift.core.secrecy import hide_in
from skylift.localcloud.installing import install_line

_NETWORK = (
    "error sending request",
    "tcp connect error",
    "dns error",
    "operation timed out",
    "connection reset",
    "network was disabled",
    "status server error",
    "invalid peer certificate",
    "407 proxy authentication",
    "request failed after",
)
_SPACE = ("no space left on device", "disk quota exceeded")


def run_uv(arguments: Sequence[str], environment: Mapping[str, str], progress: Callable[[str], None]) -> None:
    """Runs uv with exactly this environment; passes each line of its output to ``progress``, except package lists.

    Raises:
        Refused: uv is missing, the disk is full, or the registry does not have a requested package.
        Unavailable: no registry can be reached.
        Broken: uv could not be run at all.
    """
    command = [str(find_uv()), *arguments]
    said: list[str] = []
    try:
        with subprocess.Popen(
            command,
            env=dict(environment),
            cwd="/",  # no project's uv settings: only the machine's and the user's
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            try:
                for line in process.stderr or ():
                    line = hide_in(line)  # the index's address may contain a password
                    said.append(line.rstrip())
                    if line.strip() and not line.startswith((" +", " -", " ~", "Using Python")):
                        progress(line.strip())
            except BaseException:
                process.kill()
                raise
    except OSError as error:
        raise Broken(f"cannot run {command[0]}: {error}") from error
    if process.returncode:
        raise failure(said)


def find_uv() -> Path:
    """The uv beside the Python that runs us, else the one on PATH.

    Raises:
        Refused: there is none.
    """
    beside = Path(sys.executable).with_name("uv")
    found = beside if beside.is_file() else shutil.which("uv")
    if found is None:
        raise Refused(f"uv is not installed, and images are built by it. Install it with: {install_line()}")
    return Path(found)


def failure(said: Sequence[str]) -> SkyliftError:
    """The error for a failed uv, from its output."""
    text = "\n".join(line for line in said if line.strip())
    low = text.lower()
    causes = [line.strip().removeprefix("cause: ").removeprefix("Caused by: ") for line in said if line.strip()]
    if any(word in low for word in _SPACE):
        return Refused(f"the disk is full: {causes[-1] if causes else ''}. An image needs 500 MB below $SKYLIFT_HOME.")
    if any(word in low for word in _NETWORK):
        address = next((line for line in causes if "://" in line), "")
        return Unavailable(
            f"cannot reach the package registry: {address}: {causes[-1]}. Check the network, and HTTPS_PROXY, "
            "UV_INDEX_URL (or PIP_INDEX_URL) and SSL_CERT_FILE when this machine needs them."
        )
    return Refused(f"uv could not install the image's packages:\n{text[-2000:]}")


def space_error(folder: Path, error: OSError) -> Refused | None:
    """Our error for a disk that is full or not writable; ``None`` for any other error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused(f"the disk is full: {folder}: {error.strerror}. An image needs 500 MB below $SKYLIFT_HOME.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Refused(f"{folder} cannot be written: {error.strerror}. Give this user the folder, or set SKYLIFT_HOME.")
    return None
