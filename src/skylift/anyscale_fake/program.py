"""The program of a job's container: fetches the package, runs the entrypoint, and ends whatever that left running.

This file's text is what the container runs (``python -c``). It needs only the standard library; also ``uv`` for
requirements, and boto3 for packages in a bucket.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

SPEC_URL = "ANYSCALE_FAKE_SPEC_URL"
"""Variable with the address of the job's description."""
TOKEN = "ANYSCALE_FAKE_TOKEN"  # noqa: S105 - the variable's name
"""Variable with what opens that address. It is a secret of the container: ECS shows nobody its value."""
END_SECONDS = 3.0
PATIENCE_SECONDS = 120.0
"""How long the fake may be away, e.g. because its server starts again, before a job that begins gives up."""
_SET_CHILD_SUBREAPER = 36


def fetched(url: str, token: str = "") -> bytes:
    """What is at an address."""
    if url.startswith("s3://"):
        import boto3  # lazy: only packages in a bucket need it

        bucket, _, key = url.removeprefix("s3://").partition("/")
        return bytes(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    # A proxy cannot reach this machine's own loopback addresses.
    handlers = [urllib.request.ProxyHandler({})] if "//127.0.0.1" in url else []
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - from our own server
    with urllib.request.build_opener(*handlers).open(request, timeout=60) as answer:
        return bytes(answer.read())


def description(url: str, token: str) -> dict[str, Any]:
    """The job's description. Waits while nobody answers at its address, which happens while the fake starts again."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return dict(json.loads(fetched(url, token)))
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise
        time.sleep(0.5)


def unpack(url: str, target: Path) -> None:
    """A package into a folder. If it has only one folder at its top, that one's content, as Ray does."""
    with zipfile.ZipFile(io.BytesIO(fetched(url))) as archive:
        archive.extractall(target)
        for entry in archive.infolist():
            if mode := entry.external_attr >> 16 & 0o777:
                (target / entry.filename).chmod(mode)
    inside = list(target.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        for one in inside[0].iterdir():
            one.rename(target / one.name)


def prepared(spec: dict[str, Any], folder: Path) -> dict[str, str]:
    """Puts everything in place below the folder; returns the entrypoint's environment."""
    (folder / "work").mkdir()
    if spec["working_dir"]:
        unpack(spec["working_dir"], folder / "work")
    paths = []
    for number, module in enumerate(spec["py_modules"]):
        paths.append(str(folder / f"module-{number}"))
        unpack(module, Path(paths[-1]))
    if spec["pip"]:
        lines = folder / "requirements.txt"
        lines.write_text("\n".join(spec["pip"]))
        paths.append(str(folder / "packages"))
        words = ["uv", "pip", "install", "--quiet", "--target", paths[-1], "--requirements", str(lines)]
        subprocess.run([*words, "--python", sys.executable], check=True)
    environment = {
        **os.environ,
        "RAY_TMPDIR": str(folder),
        # Two jobs at once would otherwise meet in one Ray.
        "RAY_ADDRESS": "local",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(spec["object_store_bytes"]),
        "PYTHONUNBUFFERED": "1",
        **spec["variables"],
        **spec["env_vars"],
    }
    for name in (SPEC_URL, TOKEN):
        environment.pop(name, None)
    environment["PYTHONPATH"] = ":".join(filter(None, [*paths, environment.get("PYTHONPATH", "")]))
    return environment


def ran(entrypoint: str, work: Path, environment: dict[str, str]) -> int:
    """Runs the entrypoint; returns its exit code. SIGTERM goes to its process group."""
    process = subprocess.Popen(["/bin/sh", "-c", entrypoint], cwd=work, env=environment, start_new_session=True)

    def stop(_number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    code = process.wait()
    return 128 - code if code < 0 else code


def descendants() -> list[int]:
    """Processes below this one: Ray's stay in sessions of their own."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(entry)] = int(fields[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def end_all() -> None:
    """Ends every process below this one: first by SIGTERM, then by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + END_SECONDS
        while (left := descendants()) and time.monotonic() < until:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.1)


def main() -> int:
    """Runs one try of a job; returns its exit code."""
    with contextlib.suppress(OSError, AttributeError):
        # Orphans of the entrypoint become our children, and are found.
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    # Short: Ray's sockets are below it, and a socket's address has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    try:
        spec = description(os.environ[SPEC_URL], os.environ[TOKEN])
        return ran(spec["entrypoint"], folder / "work", prepared(spec, folder))
    except Exception as error:  # noqa: BLE001 - the job's log is the only place where somebody can read it
        print(f"The job could not be started: {type(error).__name__}: {error}", flush=True)  # noqa: T201
        return 1
    finally:
        end_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
