"""What runs in the container: gives the workload to Airflow's supervisor, and tells by its exit code how far it came.

The *source text* of this file, of ``stop.py`` and of ``api.py`` is the container's program
(``programs.py`` says how it gets there). So any image with Airflow 3 works (with boto3, if the workload is in S3), and
nothing of ours must be installed in it. Therefore: only the standard library at the top, everything else imported where
it is used, and the numbers of ``skylift.core.attempt.Exit`` repeated. ``airflow.sdk.execution_time.execute_workload``
(3.3.2) does the same, but its exit code is always 0, and it needs the whole workload, token included, in the command.
"""

from __future__ import annotations

import atexit
import importlib
import json
import logging
import os
import selectors
import signal
import sys
import threading
import traceback

from skylift.executors.in_container.api import NEVER_BEGAN, NOT_WANTED, api_fault
from skylift.executors.in_container.stop import DIED, ENDED_BADLY, outcome, prepare_for_stops

DONE = 0
WORKLOAD_URL = "SKYLIFT_WORKLOAD"
WORKLOADS_URL = "SKYLIFT_WORKLOADS"
ARRAYS = "arrays"
LINE = 64
EXECUTORS = ""


def main(document: bytes, s3=None, bucket: str = "", key: str = "") -> None:  # type: ignore[no-untyped-def]  # boto3's
    """Runs the workload and ends the process; first deletes the S3 object in which it came, if any."""
    for name in (WORKLOAD_URL, WORKLOADS_URL):
        os.environ.pop(name, None)
    if key:
        delete(s3, bucket, key)
    sys.exit(run(document.decode))


def run(bring) -> int:  # type: ignore[no-untyped-def]  # annotations do not go into the container
    """Runs the workload whose JSON ``bring`` returns; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(NEVER_BEGAN))
    if EXECUTORS:
        # A DAG file that names an executor can be parsed only if Airflow knows an executor of that name.
        os.environ["AIRFLOW__CORE__EXECUTOR"] = EXECUTORS
    try:
        workload = parse(bring())
    except Exception:  # noqa: BLE001  whatever it was, nothing has begun: the exit code says so to the executor
        traceback.print_exc()
        return NEVER_BEGAN
    task = workload.type == "ExecuteTask"
    for number in (signal.SIGTERM, signal.SIGINT):
        # From here on the supervisor decides what a stop means; a stop between its own handlers must not interrupt it.
        signal.signal(number, again if task else stop_now)
    try:
        if task:
            prepare_for_stops()
        notice_the_end()
        code = supervise(workload)
        return outcome(code) if task else ENDED_BADLY if code else DONE
    except Exception as error:  # noqa: BLE001  the executor acts on the exit code; the text is in the container's log
        traceback.print_exc()
        return ending(error) if task else DIED


def stop_now(number, _) -> None:  # type: ignore[no-untyped-def]  # as above
    """Ends at a stop: the executor reports the end of callbacks and connection tests, by the exit code."""
    sys.exit(128 + number)


def again(number, _) -> None:  # type: ignore[no-untyped-def]  # annotations do not go into the container
    """Sends a stop again a moment later, because the supervisor listens only after it has told Airflow that the task
    instance runs."""
    timer = threading.Timer(0.2, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def opened(url: str):  # type: ignore[no-untyped-def]  # boto3's clients have no types
    """A client of S3, and bucket and key of an ``s3://bucket/key`` URL."""
    # The image's own boto3, which is not a dependency of this layer; images without it can still run inline workloads.
    # If the container is a fork of something that has prepared clients, use one of these.
    s3 = (sys.modules.get("skylift.aws.clients") or importlib.import_module("boto3")).client("s3")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return s3, bucket, key


def delete(s3, bucket: str, key: str) -> None:  # type: ignore[no-untyped-def]  # as above
    """Deletes the workload's object: it contains a token, and nobody needs it again."""
    try:
        s3.delete_object(Bucket=bucket, Key=key)
    except Exception as error:  # noqa: BLE001  the run matters more; who may let the container delete reads its log
        sys.stderr.write(f"s3://{bucket}/{key} stays, with its token: {error}\n")


def parse(text: str):  # type: ignore[no-untyped-def]  # Airflow's classes have no types here
    """Makes a workload from its JSON."""
    from airflow.executors import workloads  # lazy: a failure to import must give NEVER_BEGAN

    return getattr(workloads, json.loads(text)["type"]).model_validate_json(text)


def supervise(workload) -> int:  # type: ignore[no-untyped-def]  # as above
    """Runs it under Airflow's supervisor in this process; returns the exit code of the Airflow task's process."""
    from airflow.executors.base_executor import BaseExecutor  # lazy: as in parse
    from airflow.sdk.log import configure_logging  # lazy: as in parse

    configure_logging(output=sys.stdout.buffer, json_output=True)
    run = getattr(BaseExecutor, "run_workload", run_before_3_3)
    return int(run(workload, subprocess_logs_to_stdout=True))


def run_before_3_3(workload, **options) -> int:  # type: ignore[no-untyped-def]  # as above
    """Does what ``BaseExecutor.run_workload`` does, which 3.1 and 3.2 do not have, like their LocalExecutor."""
    from airflow.configuration import conf  # lazy: as in parse
    from airflow.dag_processing.bundles.manager import DagBundlesManager  # lazy: as in parse
    from airflow.sdk.execution_time.supervisor import supervise  # lazy: as in parse

    bundle = workload.bundle_info
    if workload.type == "ExecuteCallback":
        from airflow.executors.workloads.callback import execute_callback_workload  # lazy: not in 3.1

        opened = DagBundlesManager().get_bundle(bundle.name, bundle.version)
        opened.initialize()
        sys.path.append(str(opened.path))
        return int(not execute_callback_workload(workload.callback, logging.getLogger("callback"))[0])
    base = conf.get("api", "base_url", fallback="/")
    base = f"http://localhost:8080{base}" if base.startswith("/") else base
    if hasattr(workload, "sentry_integration"):
        options["sentry_integration"] = workload.sentry_integration
    return supervise(  # type: ignore[no-any-return]
        ti=workload.ti,
        dag_rel_path=workload.dag_rel_path,
        bundle_info=bundle,
        token=workload.token,
        server=conf.get("core", "execution_api_server_url", fallback=f"{base.rstrip('/')}/execution/"),
        log_path=workload.log_path,
        **options,
    )


def notice_the_end() -> None:
    """Wakes the supervisor when its child has ended.

    Airflow's supervisor (3.3.2, ``WatchedSubprocess._service_subprocess``) sees the child's last socket close and asks
    once whether the child has ended. If that was a moment too early, it sleeps for ``[workers]
    min_heartbeat_interval`` (5 s) in a selector without files. On Linux the socket wakes it on the child's own CPU,
    before the child can end, so it is nearly always too early. A selector whose wait is interrupted returns early, as
    documented; then the supervisor asks again.
    """
    if signal.getsignal(signal.SIGCHLD) is wake:
        return
    mine = os.getpid()

    def leave_the_child_alone() -> None:
        if os.getppid() == mine:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    signal.signal(signal.SIGCHLD, wake)
    signal.signal(signal.SIGALRM, wake)
    # Python removes its handlers before it ends; an alarm that is still set would then kill it with exit code 142.
    atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)
    os.register_at_fork(after_in_child=leave_the_child_alone)


# Annotations do not go into the container
def wake(number, frame, left=[]) -> None:  # type: ignore[no-untyped-def]  # noqa: B006
    """Ends a selector's wait. If the program is elsewhere, perhaps just before the wait, it tries again: every 20 ms,
    for 2 s."""
    left[:] = [100] if number == signal.SIGCHLD else [left[0] - 1]
    names = frame.f_locals if frame is not None and frame.f_code is selectors.DefaultSelector.select.__code__ else ()
    # Between these two there is one statement, the wait, and it is in a try (Python 3.9 to 3.13).
    if "ready" in names and "fd_event_list" not in names:
        raise InterruptedError
    if left[0]:
        signal.setitimer(signal.ITIMER_REAL, 0.02)


def ending(error: Exception) -> int:
    """The exit code for what the supervisor raised: before it waits for the task's process, nothing has run."""
    if any(frame.name == "wait" for frame in traceback.extract_tb(error.__traceback__)):
        unwanted = getattr(getattr(error, "response", None), "status_code", None) in NOT_WANTED
        return ENDED_BADLY if unwanted else DIED
    return api_fault(error)
