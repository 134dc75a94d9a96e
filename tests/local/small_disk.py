"""A disk of a few megabytes that a test may fill: a tmpfs. Mounting takes root, or a user namespace of one's own."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


@dataclass
class SmallDisk:
    """A mounted one."""

    folder: Path

    def fill(self) -> None:
        """Until not a byte more can be had."""
        with (self.folder / "ballast").open("ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while ballast.write(b"x" * size):
                        pass
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (self.folder / "probe").write_bytes(b"x")
        (self.folder / "probe").unlink(missing_ok=True)

    def free(self) -> None:
        """Gives back what ``fill`` took."""
        (self.folder / "ballast").unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 40) -> Iterator[SmallDisk]:
    """Mounts one; call ``needs_mounts`` first."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def needs_mounts(node: str) -> None:
    """For root: nothing. For anybody else the test (a file, or a node id) runs in a namespace in which mounting is
    allowed."""
    if os.geteuid() == 0:
        return
    if (
        shutil.which("unshare") is None
        or subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("mounting a small disk takes root, or user namespaces, which are not allowed here")
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", node],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout.decode()[-5000:]
    pytest.skip("it ran in a user namespace, and passed")
