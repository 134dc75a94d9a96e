"""What runs in a container that stays for more than one workload (``[skylift] warm_seconds``).

Its source text follows that of ``main.py`` in the container's program; the same rules apply.
Each workload has its own process, so that nothing of one is in the memory of the next; the file system is shared.
``mailboxes.py`` describes how executor and container meet.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import time

from skylift.executors.in_container.api import NEVER_BEGAN, NOT_OURS
from skylift.executors.in_container.main import DONE, WORKLOAD_URL, delete, opened, run
from skylift.executors.in_container.stop import ENDED_BADLY

STAY_SECONDS = "SKYLIFT_WARM_SECONDS"
WARM, CLOSED = "warm", "closed"
LOOK = 0.5
STOPPED: list[bool] = []
CHILDREN: list[int] = []


def stay(first: int) -> None:
    """Runs workload after workload, until none comes for ``SKYLIFT_WARM_SECONDS``; ends with 0 if all went well.

    Args:
        first: where the first workload begins in its object, after this program.
    """
    sys.exit(workloads(first))


def workloads(first: int) -> int:
    """Does the work of ``stay``; returns the exit code."""
    url, seconds = os.environ.pop(WORKLOAD_URL), float(os.environ.pop(STAY_SECONDS))
    folder, _, name = url.rpartition("/")
    s3, bucket, prefix = opened(f"{folder}/{WARM}/{name.removesuffix('.json')}")
    signal.signal(signal.SIGTERM, stopped)
    with contextlib.suppress(ImportError):
        # Once, for all later processes.
        importlib.import_module("airflow.executors.base_executor")
    number, code = 1, apart(lambda: fetch(url, first))
    # What went wrong here might go wrong again: such a container ends, and its exit code says so.
    while code in (DONE, ENDED_BADLY, NOT_OURS) and not STOPPED:
        if not told(s3, bucket, f"{prefix}/{number}-{code}"):
            return code
        mailbox = f"{prefix}/{number + 1}"
        if not another(s3, bucket, mailbox, seconds):
            return DONE
        tidy(s3, bucket, f"{prefix}/{number}", f"{prefix}/{number}-{code}")
        number, code = number + 1, apart(lambda url=f"s3://{bucket}/{mailbox}": take(url))
    return code


def stopped(*_) -> None:  # type: ignore[no-untyped-def]  # a signal handler
    """Passes a stop on to the workload."""
    STOPPED.append(True)
    for child in CHILDREN:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)


def apart(bring) -> int:  # type: ignore[no-untyped-def]  # as in main.py
    """Runs a workload in its own process; returns its exit code, or 128 plus the number of the signal."""
    sys.stdout.flush()
    # No stop is taken until both processes have their own way to handle one.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # A signal to the container's process group must not reach it twice: a stop is passed on to it.
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(NEVER_BEGAN))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            code = NEVER_BEGAN if STOPPED else run(bring)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    CHILDREN[:] = [child]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    _, status = os.waitpid(child, 0)
    CHILDREN.clear()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def told(s3, bucket, key) -> bool:  # type: ignore[no-untyped-def]  # boto3's clients have no types
    """Reports that a workload has ended. Returns whether that worked; otherwise the container's own end says it."""
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        return True
    except Exception as error:  # noqa: BLE001  the executor learns by the exit code; who may let us write reads the log
        sys.stderr.write(f"this container cannot stay: {error}\n")
        return False


def another(s3, bucket, key, seconds) -> bool:  # type: ignore[no-untyped-def]  # as above
    """Whether another workload came. If none did, this closes the mailbox, by a conditional write that exactly one side
    wins."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not STOPPED:
        try:
            s3.head_object(Bucket=bucket, Key=key)
            return True
        except Exception:  # noqa: BLE001  not there yet (404, or 403 for who may not list), or S3 has a bad moment
            time.sleep(LOOK)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=CLOSED, IfNoneMatch="*")
        return False
    except Exception:  # noqa: BLE001  it came just now; in doubt we look, and find nothing
        return not STOPPED


def tidy(s3, bucket, *keys) -> None:  # type: ignore[no-untyped-def]  # as above
    """Removes what is no longer needed; it contains no token."""
    try:
        for key in keys:
            s3.delete_object(Bucket=bucket, Key=key)
    except Exception as error:  # noqa: BLE001  the next workload matters more; who may let us delete reads the log
        sys.stderr.write(f"{key} stays: {error}\n")


def fetch(url: str, first: int) -> str:
    """The text of the container's first workload; deletes its object."""
    s3, bucket, key = opened(url)
    body: bytes = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-")["Body"].read()
    delete(s3, bucket, key)
    return body.decode()


def take(url: str) -> str:
    """The text of the workload in a mailbox. Empties the mailbox, because it contains a token, but keeps the object."""
    # Not with the client that all processes inherit: TLS counts messages, and two processes that share a connection
    # lose count.
    s3, bucket, key = opened(url)
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    if body != CLOSED.encode():
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    return body.decode()
