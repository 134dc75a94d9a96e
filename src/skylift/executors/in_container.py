"""What runs in the container: fetch the workload, hand it to Airflow's supervisor, tell by the exit code how far it came.

The *source text* of this file is the container's command (``python -c``), so that any image with Airflow 3 (and boto3,
when the workload is in S3) will do and nothing of ours must be installed in it. Hence: standard library on top,
everything else imported where it is used, and the numbers of ``skylift.core.attempt.Exit`` repeated.
``airflow.sdk.execution_time.execute_workload`` (3.3.2) does the same, but its exit code is 0 whatever came out, and it
needs the whole workload, token included, in the command.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback

DONE, ENDED_BADLY, NOT_OURS, NEVER_BEGAN, DIED = 0, 70, 71, 72, 1
WORKLOAD_URL = "SKYLIFT_WORKLOAD"
NOT_WANTED = (404, 409, 410)


def main(inline: str = "") -> int:
    """Runs the workload: the JSON given inline, or the object that the environment variable names."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(NEVER_BEGAN))
    try:
        workload = parse(inline or fetch(os.environ.pop(WORKLOAD_URL)))
    except Exception:  # noqa: BLE001  whatever it was, nothing has begun: the exit code says so to the executor
        traceback.print_exc()
        return NEVER_BEGAN
    # From here on the supervisor decides what a stop means; between its own handlers a stop must not cut it short.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        return DONE if supervise(workload) == 0 else ENDED_BADLY
    except Exception as error:  # noqa: BLE001  the executor acts on the exit code; the text is in the container's log
        traceback.print_exc()
        return ending(error) if workload.type == "ExecuteTask" else DIED


def fetch(url: str) -> str:
    """Text of an ``s3://bucket/key`` object, which is deleted: it holds a token, and nobody needs it twice."""
    # The image's own boto3, not a dependency of this layer; images without it can still run inline workloads.
    boto3 = importlib.import_module("boto3")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3")
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        s3.delete_object(Bucket=bucket, Key=key)
    except Exception as error:  # noqa: BLE001  the run matters more; who may let the container delete reads its log
        sys.stderr.write(f"{url} stays, with its token: {error}\n")
    return body.decode()


def parse(text: str):  # type: ignore[no-untyped-def]  # Airflow's classes have no types here
    """The workload of its JSON."""
    from airflow.executors import workloads  # lazy: a failure to import must give NEVER_BEGAN

    return getattr(workloads, json.loads(text)["type"]).model_validate_json(text)


def supervise(workload) -> int:  # type: ignore[no-untyped-def]  # as above
    """Runs it under Airflow's supervisor in this process; the exit code of the Airflow task's process."""
    from airflow.executors.base_executor import BaseExecutor  # lazy: as in parse
    from airflow.sdk.log import configure_logging  # lazy: as in parse

    configure_logging(output=sys.stdout.buffer, json_output=True)
    return int(BaseExecutor.run_workload(workload, subprocess_logs_to_stdout=True))


def ending(error: Exception) -> int:
    """The exit code for what the supervisor raised.

    Airflow's API answers 404, 409 or 410 when this container must not (or no longer) run the task instance. Before the
    supervisor waits for the task's process, nothing has run; any other error there is ours to repeat.
    """
    waited = any(frame.name == "wait" for frame in traceback.extract_tb(error.__traceback__))
    if getattr(getattr(error, "response", None), "status_code", None) in NOT_WANTED:
        return ENDED_BADLY if waited else NOT_OURS
    return DIED if waited else NEVER_BEGAN


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
