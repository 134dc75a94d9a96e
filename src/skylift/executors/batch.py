"""``AwsBatchExecutor``: every workload of Airflow is its own AWS Batch job, or a child of an array job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skylift.aws.batch.endings import BatchEndings
from skylift.aws.batch.jobs import BatchJobs, NoQueue, job_of
from skylift.aws.clients import client
from skylift.aws.output import LogReader
from skylift.aws.shapes import mistakes
from skylift.core.attempt import Compute, Observation
from skylift.core.errors import Refused, SkyliftError
from skylift.executors.airflow_compat import executor_names
from skylift.executors.batch_compute import BatchCompute
from skylift.executors.batch_observation import observation
from skylift.executors.events.source import Source
from skylift.executors.events.sqs import BATCH_JOB, source_of
from skylift.executors.executor import SkyliftExecutor
from skylift.executors.fleet.timing import Timing
from skylift.executors.in_container.payload import payloads_of
from skylift.executors.in_container.warm import staying
from skylift.executors.last_words.batch import BatchExplainer
from skylift.executors.options.batch import BATCH_SECTION, BatchOptions, batch_options
from skylift.executors.options.connection import session_of
from skylift.executors.options.settings import (
    ARRAY_LINGER,
    BATCH_ARRAYS,
    EVENTS_QUEUE,
    LAST_LINES,
    LAUNCH_RATE,
    OWN_SECTION,
    TAGS,
    WARM_SECONDS,
    Options,
)
from skylift.executors.options.teams import team_of

LAUNCHES = 40.0
"""SubmitJob calls a second, of the 50 that an account has; the rest is for what others submit."""


class AwsBatchExecutor(SkyliftExecutor):
    """Runs every workload as its own Batch job; drop-in for the amazon provider's executor of that name."""

    def make_compute(self) -> Compute:
        """The compute of the options. Raises ``Refused`` with one line that names a wrong option."""
        options = batch_options(self.conf)
        own = Options(self.conf, OWN_SECTION)
        session = session_of(options.connection, options.region, BATCH_SECTION, team_of(self))
        batch = client("batch", region=options.region or None, attempts=1, read_timeout=20, session=session)
        jobs = BatchJobs(batch)
        payloads = payloads_of(own, session, options.region, executor_names())
        if own[BATCH_ARRAYS] and not payloads.by_reference:
            raise Refused(f"[{OWN_SECTION}] batch_arrays needs payload_url: the children of an array have one command")
        whose = f" of team {team!r}" if (team := team_of(self)) else ""
        for queue, one in {"": options, **options.queues}.items():
            where = f"[{OWN_SECTION}] queues{whose} {queue!r}" if queue else f"[{BATCH_SECTION}]{whose}"
            self._check(jobs, one, where)
        if own[BATCH_ARRAYS] and own[WARM_SECONDS]:
            raise Refused(f"[{OWN_SECTION}] batch_arrays and warm_seconds exclude each other: set one of the two")
        explainer = BatchExplainer(
            BatchEndings(batch), LogReader(session, options.region), most=own[LAST_LINES], names=options.containers()
        )
        labels = {"team": team} if team else {}
        compute = BatchCompute(
            jobs, options, payloads, tags=own[TAGS], together=own[BATCH_ARRAYS], labels=labels, explainer=explainer
        )
        return staying(compute, payloads, own)

    def make_source(self) -> Source | None:
        """The queue of events, if there is one."""
        options = batch_options(self.conf)
        queue, names = Options(self.conf, OWN_SECTION)[EVENTS_QUEUE], options.containers()
        if not queue:
            return None

        def sighting(detail: Mapping[str, Any]) -> Observation | None:
            job = job_of(detail)
            return None if job.is_array else observation(job.id, job, names)

        return source_of(
            queue,
            {BATCH_JOB: sighting},
            session=session_of(options.connection, options.region, BATCH_SECTION, team_of(self)),
            region=options.region,
        )

    def _check(self, jobs: BatchJobs, options: BatchOptions, where: str) -> None:
        """Arguments that Batch does not have, or a missing queue, stop the start; a temporary failure does not."""
        wrong = mistakes("batch", "SubmitJob", {**options.request, "jobName": "any"})
        if wrong:
            raise Refused(f"{where} submit_job_kwargs: {wrong}")
        for place in options.places() if options.check_health else ():
            try:
                if jobs.queue_state(place) == "DISABLED":
                    self.log.warning("%s job_queue: %s is disabled: Batch takes no jobs for it", where, place)
            except NoQueue as error:
                raise Refused(f"{where} job_queue: {error}") from error
            except SkyliftError as error:
                self.log.warning("The job queue could not be looked for (check_health_on_startup); going on: %s", error)

    def most_attempts(self) -> int:
        """Most Batch jobs for one launch."""
        return batch_options(self.conf).most_attempts

    def timing(self) -> Timing:
        """As for all executors, but faster than Fargate's rate, and with a time to wait for others of an array."""
        own = Options(self.conf, OWN_SECTION)
        timing = super().timing()
        launches = timing.launches if own.set(LAUNCH_RATE) else LAUNCHES
        return replace(timing, launches=launches, linger=own[ARRAY_LINGER] if own[BATCH_ARRAYS] else 0.0)

    def foreign(self, external_id: str) -> bool:  # noqa: ARG002  as in SkyliftExecutor
        """The amazon provider's executor stores bare job ids, which look like ours; ``find`` tells them apart."""
        return False
