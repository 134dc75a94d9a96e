"""The lifecycle of a Batch job, as a table.

Source: "Job states" in the AWS Batch user guide. An array's parent goes from PENDING directly to its end.
"""

from __future__ import annotations

from enum import StrEnum

from skylift.core.lifecycle import Lifecycle


class JobState(StrEnum):
    """``status`` of a Batch job."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


BATCH_JOB: Lifecycle[JobState] = Lifecycle(
    "Batch job",
    {
        JobState.SUBMITTED: frozenset({JobState.PENDING, JobState.RUNNABLE, JobState.FAILED}),
        # SUCCEEDED: an array's parent, whose children have all succeeded.
        JobState.PENDING: frozenset({JobState.RUNNABLE, JobState.FAILED, JobState.SUCCEEDED}),
        JobState.RUNNABLE: frozenset({JobState.STARTING, JobState.FAILED}),
        # RUNNABLE: the attempt failed and another one follows, or its ECS task was never accepted (a crash in between).
        # SUCCEEDED: the server was away while it ran.
        JobState.STARTING: frozenset({JobState.RUNNING, JobState.RUNNABLE, JobState.FAILED, JobState.SUCCEEDED}),
        JobState.RUNNING: frozenset({JobState.RUNNABLE, JobState.SUCCEEDED, JobState.FAILED}),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
    },
)

WAITING = frozenset({JobState.SUBMITTED, JobState.PENDING, JobState.RUNNABLE})
"""Nothing of it runs, so it can be cancelled."""
PLACED = frozenset({JobState.STARTING, JobState.RUNNING})
"""It has an ECS task, and takes capacity."""
ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED})
