"""What Batch says of a job, in the house's words: pure. Batch's states end here.

Batch may try a job several times by itself (``retryStrategy``), each time with the same command. Once Airflow's task began in
one of them, Airflow's API refuses the others (``NOT_OURS``), and one whose workload was fetched before finds none
(``NEVER_BEGAN``); so the attempt that tells how it ended is the last with another ending than these two.
"""

from __future__ import annotations

from skylift.aws.batch_jobs import BatchContainer, BatchJob, BatchTry
from skylift.core.attempt import Exit, Observation, Phase

WAITING = frozenset({"SUBMITTED", "PENDING", "RUNNABLE", "STARTING"})
NOT_STARTED = "Task failed to start"
"""``statusReason`` when the container could not be made, e.g. because its image is not there."""
NOTHING_RUN = frozenset({Exit.NOT_OURS, Exit.NEVER_BEGAN})


def observation(ref: str, job: BatchJob | None, container: str = "") -> Observation:
    """What DescribeJobs says of a job, or of one child of an array.

    Args:
        ref: the job's id.
        job: ``None`` when Batch's answer does not have it.
        container: name of the container in which Airflow runs, of a definition with several.
    """
    if job is None:
        return Observation(ref, Phase.MISSING, reason="Batch does not know this job (MISSING)")
    told = _telling(job, container)
    code, began = _code(told, container), _began(told, container)
    reason = _reason(job, told, container)
    began_once = began or any(_began(one, container) for one in job.tries)
    if job.status == "RUNNING":
        return Observation(ref, Phase.RUNNING, began=True, by_request=job.on_request, reason=reason)
    if job.status not in {"SUCCEEDED", "FAILED"}:
        return Observation(ref, Phase.WAITING, began=began_once, by_request=job.on_request, reason=reason)
    if job.status == "SUCCEEDED" and code is None:
        code = Exit.DONE
    return Observation(ref, Phase.STOPPED, began or code == Exit.DONE, code, job.on_request, reason)


def log_stream(job: BatchJob, container: str = "") -> str:
    """CloudWatch log stream of the container in which Airflow ran; "" when there is none."""
    main = _main(_telling(job, container), container)
    return main.log_stream if main else ""


def _telling(job: BatchJob, container: str) -> BatchTry:
    """The try that tells how the job ended; the last, which may not be over, when none tells more."""
    last = BatchTry(job.started, job.reason, job.containers)
    # The job repeats its last try; as a whole it knows more of how that ended, e.g. that it was terminated.
    tries = [*job.tries[:-1], last] if job.tries and job.status in {"SUCCEEDED", "FAILED"} else [*job.tries, last]
    for one in reversed(tries):
        if _began(one, container) and _code(one, container) not in NOTHING_RUN:
            return one
    return last


def _main(one: BatchTry, container: str) -> BatchContainer | None:
    if not container and len(one.containers) == 1:
        return one.containers[0]
    return next((main for main in one.containers if main.name == container), None)


def _code(one: BatchTry, container: str) -> int | None:
    main = _main(one, container)
    return main.exit_code if main else None


def _began(one: BatchTry, container: str) -> bool:
    return _code(one, container) is not None or (one.started and one.reason != NOT_STARTED)


def _reason(job: BatchJob, told: BatchTry, container: str) -> str:
    main = _main(told, container)
    code = main.exit_code if main else None
    parts = [
        " ".join(filter(None, (job.status, job.reason and f"({job.reason})"))),
        told.reason if told.reason != job.reason else "",
        f"container {container}: {main.reason}".replace(" :", ":") if main and main.reason else "",
        f"exit code {code}" if code is not None else "",
        _meaning(code, main.reason if main else "", job.reason),
        f"{len(job.tries)} tries of Batch" if len(job.tries) > 1 else "",
        f"Batch job {job.id}",
    ]
    return "; ".join(filter(None, parts))


def _meaning(code: int | None, reason: str, status_reason: str) -> str:
    if "OutOfMemory" in reason or (code == 137 and "memory" in reason.lower()):
        return "it was out of memory: give the container more (executor_config: containerOverrides.resourceRequirements)"
    if status_reason.startswith("Host EC2"):
        return "its EC2 instance is gone (Spot, or scaled in)"
    return {137: "killed (SIGKILL; often out of memory)", 143: "stopped (SIGTERM)"}.get(code or 0, "")
