"""Translates what Batch says of a job into an ``Observation``. Pure. No other file knows Batch's states.

Batch may retry a job by itself (``retryStrategy``), each time with the same command. Once Airflow's task has
begun in one try, Airflow's API refuses the others (``NOT_OURS``), and a try whose workload was already fetched finds
none (``NEVER_BEGAN``). So the last try with a different ending tells how the attempt ended.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from skylift.aws.batch.jobs import BatchTry, DescribedJob, JobContainer
from skylift.core.attempt import ENDINGS, Exit, Observation, Phase, Verdict
from skylift.executors import exit_words
from skylift.executors.executor_config.batch_request import token_of

WAITING = frozenset({"SUBMITTED", "PENDING", "RUNNABLE", "STARTING"})
ENDED = ("SUCCEEDED", "FAILED")
NO_CAPACITY = ("CAPACITY:", "Host EC2")
"""How ``statusReason`` begins when a job that had not begun ended for want of capacity: by ``jobStateTimeLimitActions``
of its queue (user guide, "Jobs stuck in RUNNABLE"), or with its EC2 instance (user guide, "Automated job retries")."""
NOT_STARTED = "Task failed to start"
"""``statusReason`` when the container could not be made, e.g. because its image is not there."""
NOTHING_RUN = frozenset(code for code, ending in ENDINGS.items() if ending is Verdict.LOST) | {Exit.NOT_OURS}


RANKS = {
    state: rank
    for rank, states in enumerate((("SUBMITTED",), ("PENDING",), ("RUNNABLE",), ("STARTING",), ("RUNNING",), ENDED))
    for state in states
}


def observation(ref: str, job: DescribedJob | None, names: Collection[str] = ()) -> Observation:
    """What DescribeJobs says of a job, or of one child of an array.

    Args:
        ref: the job's id.
        job: ``None`` if Batch's answer does not contain it.
        names: the container in which Airflow runs, if the job definition has several; if empty, the first.
    """
    if job is None:
        return Observation(ref, Phase.MISSING, reason="Batch does not know this job (MISSING)")
    told = _telling(job, names)
    code, began = _code(told, names), _began(told, names)
    reason = _reason(job, told, names)
    began_once = began or any(_began(one, names) for one in job.tries)
    seen = Observation(
        ref,
        Phase.WAITING,
        began=began_once,
        by_request=job.on_request,
        reason=reason,
        version=10 * len(job.tries) + RANKS.get(job.status, 0) + 1,
        external_id=token_of(job.name).rpartition(".")[0],
        outside=job.on_request or job.reason.startswith("Host EC2"),
    )
    if job.status == "RUNNING":
        return replace(seen, phase=Phase.RUNNING, began=True)
    if job.status not in ENDED:
        return seen
    if job.status == "SUCCEEDED" and code is None:
        code = Exit.DONE
    shortage = not began_once and job.status == "FAILED" and job.reason.startswith(NO_CAPACITY)
    return replace(
        seen,
        phase=Phase.STOPPED,
        began=began or code == Exit.DONE,
        exit_code=code,
        by_request=job.on_request and not shortage,
        shortage=shortage,
    )


def log_stream(job: DescribedJob, names: Collection[str] = ()) -> str:
    """CloudWatch log stream of the container in which Airflow ran; "" if there is none."""
    main = main_container(job, names)
    return main.log_stream if main else ""


def main_container(job: DescribedJob, names: Collection[str] = ()) -> JobContainer | None:
    """The container in which Airflow ran, in the try that tells how the job ended."""
    return _main(_telling(job, names), names)


def _telling(job: DescribedJob, names: Collection[str]) -> BatchTry:
    """The try that tells how the job ended; otherwise the last, which may not have ended."""
    last = BatchTry(job.started, job.reason, job.containers)
    # The job repeats its last try, but knows more about how that ended, e.g. that it was terminated.
    tries = [*job.tries[:-1], last] if job.tries and job.status in ENDED else [*job.tries, last]
    for one in reversed(tries):
        if _began(one, names) and _code(one, names) not in NOTHING_RUN:
            return one
    return last


def _main(one: BatchTry, names: Collection[str]) -> JobContainer | None:
    named = [main for main in one.containers if main.name in names]
    return next(iter((*named, *one.containers)), None)


def _code(one: BatchTry, names: Collection[str]) -> int | None:
    main = _main(one, names)
    return main.exit_code if main else None


def _began(one: BatchTry, names: Collection[str]) -> bool:
    return _code(one, names) is not None or (one.started and one.reason != NOT_STARTED)


def _reason(job: DescribedJob, told: BatchTry, names: Collection[str]) -> str:
    main = _main(told, names)
    code = main.exit_code if main else None
    parts = [
        " ".join(filter(None, (job.status, job.reason and f"({job.reason})"))),
        told.reason if told.reason != job.reason else "",
        " ".join(filter(None, ("container", main.name))) + f": {main.reason}" if main and main.reason else "",
        f"exit code {code}" if code is not None else "",
        _meaning(code, main.reason if main else "", job.reason),
        f"{len(job.tries)} tries of Batch" if len(job.tries) > 1 else "",
        f"Batch job {job.id}",
    ]
    return "; ".join(filter(None, parts))


def _meaning(code: int | None, reason: str, status_reason: str) -> str:
    if status_reason.startswith("Host EC2"):
        return "its EC2 instance is gone (Spot, or scaled in)"
    more = "give the container more (executor_config: containerOverrides.resourceRequirements)"
    return exit_words.words(code, reason, more=more)
