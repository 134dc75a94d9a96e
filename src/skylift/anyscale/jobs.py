"""``SubmitAnyscaleJob``: an Airflow task that runs a job at Anyscale, and is what that job becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import skylift.anyscale.submitting as submitting
import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.hook import AnyscaleHook, end_job
from skylift.anyscale.job_log import LogCursor
from skylift.anyscale.links import JOB_PAGE, AnyscaleJobLink
from skylift.anyscale.operator import AnyscaleOperator
from skylift.anyscale.parameters import job_request, text, truth
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable
from skylift.anyscale.watching import PATIENCE_SECONDS, REFUSED, TIMED_OUT, UNREACHABLE, WatchEnd, watch_job
from skylift.anyscale.workload import JobRequest, job_name

_PARAMETERS = (
    *("entrypoint", "image_uri", "containerfile", "compute_config", "working_dir", "excludes", "requirements"),
    *("env_vars", "py_modules", "cloud", "project", "max_retries", "job_queue_config"),
)
"""What goes to Anyscale under its own name."""
_EARLIER = 5
"""So many clears back, jobs that still run are looked for and ended."""


class SubmitAnyscaleJob(AnyscaleOperator):
    """Runs a job at Anyscale.

    The parameters are those of the operator of this name in ``astro-provider-anyscale``; the last three are new. What
    they mean in detail: docs/anyscale.md.

    Args:
        conn_id: connection of type Anyscale.
        entrypoint: command that the job runs.
        name: of the job; eight characters are added, by which it is found again (see ``reattach``).
        image_uri: of an image that Anyscale can pull; default: Anyscale's.
        containerfile: a file on the worker, instead of ``image_uri``; Anyscale builds the image, once for each content.
        compute_config: ``name`` or ``name:version``; a dictionary only with Anyscale's client.
        working_dir: a folder beside the DAG, which is uploaded, or the address of a zip file.
        excludes: what is not uploaded, as in ``.gitignore``.
        requirements: a list, or a file on the worker.
        env_vars: of the job.
        py_modules: folders for Python's path.
        cloud: by name; default: Anyscale's default.
        project: by name; default: the cloud's default.
        max_retries: Anyscale's own, within one job.
        wait_for_completion: ``False``: the Airflow task succeeds as soon as the job is submitted.
        job_timeout_seconds: after it, the job is ended and the Airflow task fails.
        poll_interval: seconds between two looks.
        job_queue_config: ``priority``, ``target_job_queue_name``, ``job_queue_spec``.
        fetch_logs: print the job's log into the Airflow task's log.
        extra_job_params: further members of the job's configuration: ``timeout_s``, ``tags``, ``priority`` ...
        deferrable: wait in the triggerer instead of a worker.
        reattach: after a worker died, the next try finds the job that was submitted, instead of submitting another.
        api_patience_seconds: how long Anyscale's API may be silent before the Airflow task fails.
    """

    template_fields: Sequence[str] = (
        "conn_id",
        "entrypoint",
        "name",
        "image_uri",
        "containerfile",
        "compute_config",
        "working_dir",
        "excludes",
        "requirements",
        "env_vars",
        "py_modules",
        "cloud",
        "project",
        "max_retries",
        "fetch_logs",
        "wait_for_completion",
        "job_timeout_seconds",
        "poll_interval",
    )
    operator_extra_links = (AnyscaleJobLink(),)

    def __init__(
        self,
        *,
        conn_id: str,
        entrypoint: str,
        name: str | None = None,
        image_uri: str | None = None,
        containerfile: str | None = None,
        compute_config: Any = None,
        working_dir: str | None = None,
        excludes: list[str] | None = None,
        requirements: str | list[str] | None = None,
        env_vars: dict[str, str] | None = None,
        py_modules: list[str] | None = None,
        cloud: str | None = None,
        project: str | None = None,
        max_retries: int | str = 1,
        fetch_logs: bool | str = True,
        wait_for_completion: bool | str = True,
        job_timeout_seconds: float | str = 3600,
        poll_interval: float | str = 60,
        job_queue_config: Mapping[str, Any] | None = None,
        extra_job_params: Mapping[str, Any] | None = None,
        deferrable: bool = True,
        reattach: bool = True,
        api_patience_seconds: float = PATIENCE_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.entrypoint = entrypoint
        self.name = name
        self.image_uri = image_uri
        self.containerfile = containerfile
        self.compute_config = compute_config
        self.working_dir = working_dir
        self.excludes = excludes
        self.requirements = requirements
        self.env_vars = env_vars
        self.py_modules = py_modules
        self.cloud = cloud
        self.project = project
        self.max_retries = max_retries
        self.fetch_logs = fetch_logs
        self.wait_for_completion = wait_for_completion
        self.job_timeout_seconds = job_timeout_seconds
        self.poll_interval = poll_interval
        self.job_queue_config = job_queue_config
        self.extra_job_params = extra_job_params
        self.deferrable = deferrable
        self.reattach = reattach
        self.api_patience_seconds = api_patience_seconds
        self.job_id = ""

    def execute(self, context: Any) -> str:
        """Submits the job, or finds it, and waits. Returns its id. Raises ``AnyscaleRefused`` or
        ``AnyscaleUnavailable``."""
        ti = context["ti"]
        names = self._names(ti)
        given = {name: vars(self)[name] for name in _PARAMETERS}
        request = job_request({**given, **(self.extra_job_params or {})}, names[0])
        pace = self._pace("job_timeout_seconds", self.job_timeout_seconds)
        waits, follows = truth("wait_for_completion", self.wait_for_completion), truth("fetch_logs", self.fetch_logs)
        hook = AnyscaleHook(self.conn_id)
        record = hook.call(lambda client: self._of_earlier_tries(client, names)) if self.reattach else None
        if record is None:
            record = self._submitted(hook, request)
        self.job_id = str(record["id"])
        ti.xcom_push("job_id", self.job_id)
        page = wire.job_page(hook.account.host, self.job_id)
        ti.xcom_push(JOB_PAGE, page)
        self.log.info("Job %s (%s): %s", self.job_id, request.name, page)
        if not waits:
            return self.job_id
        if self.deferrable:
            from skylift.anyscale.triggers import AnyscaleJobTrigger  # lazy: 40 ms that parsing a DAG does not need

            trigger = AnyscaleJobTrigger(
                self.conn_id, self.job_id, pace.poll_seconds, pace.deadline, pace.patience_seconds, follows
            )
            self._wait_in_triggerer(trigger, pace)
        cursor = LogCursor() if follows else None
        found = hook.call(lambda client: watch_job(client, self.job_id, pace, self._tell, cursor))
        return self._result(found)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:  # noqa: ARG002 - Airflow's signature
        """After the triggerer, which has printed the log."""
        self.job_id = str(event["job_id"])
        return self._result(WatchEnd(str(event["state"]), str(event.get("message", ""))))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """A trigger that failed or took too long leaves no job behind."""
        if next_method == "__fail__":
            ti = context["ti"]
            pulled = ti.xcom_pull(task_ids=self.task_id, key="job_id", map_indexes=ti.map_index)
            self.job_id = str(pulled or "")
            self.log.error("The triggerer could not wait for job %s: ending it", self.job_id)
            self.on_kill()
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Ends the job: the Airflow task was ended, or took longer than its ``execution_timeout``."""
        if self.job_id:
            self._in_thread(self._end_job)

    def _end_job(self) -> None:
        try:
            AnyscaleHook(self.conn_id).terminate_job(self.job_id)
            self.log.info("Job %s: asked Anyscale to end it", self.job_id)
        except Exception as error:  # noqa: BLE001 - the Airflow task ends anyway; say what it leaves behind
            self.log.error("Job %s was not ended: %s. End it on its page.", self.job_id, error)

    def _names(self, ti: Any) -> list[str]:
        """The job's name at Anyscale, and those that it had before this Airflow task was cleared.

        Airflow raises ``max_tries`` when somebody clears the task: then, and only then, a new job is wanted.
        """
        first = int(ti.max_tries) - int(self.retries or 0) + 1
        of_task = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        wanted = text((self.extra_job_params or {}).get("name") or self.name)
        oldest = max(first - _EARLIER, 1)
        return [
            job_name(wanted, (*of_task, one), findable=self.reattach)
            for one in (first, *range(first - 1, oldest - 1, -1))
        ]

    async def _of_earlier_tries(self, client: AnyscaleClient, names: Sequence[str]) -> dict[str, Any] | None:
        """The job that an earlier try of this Airflow task submitted. Ends those of before it was cleared."""
        for name in names[1:]:
            if (found := await submitting.find_job(client, name)) is not None:
                record = await client.get(wire.job(str(found["id"])), f"the question for job {found['id']}")
                if _word(record) not in wire.JOB_OVER:
                    self.log.info("Job %s is of before this Airflow task was cleared: ending it", record["id"])
                    await end_job(client, str(record["id"]))
        found = await submitting.find_job(client, names[0])
        if found is None:
            return None
        record = await client.get(wire.job(str(found["id"])), f"the question for job {found['id']}")
        if _word(record) in {"FAILED", "TERMINATED"}:
            self.log.info("Job %s of an earlier try is %s: submitting another", record["id"], _word(record))
            return None
        self.log.info("Job %s was submitted by an earlier try (%s): taking it", record["id"], _word(record))
        return dict(record)

    def _submitted(self, hook: AnyscaleHook, request: JobRequest) -> dict[str, Any]:
        try:
            return hook.submit(request)
        except AnyscaleUnavailable as error:
            raise AnyscaleUnavailable(
                f"{error} Whether the job was made is not known; a retry of this Airflow task finds it if it was."
            ) from error

    def _result(self, found: WatchEnd) -> str:
        word = wire.JOB_WORDS.get(found.state)
        if word == "SUCCEEDED":
            self.log.info("Job %s succeeded", self.job_id)
            return self.job_id
        why = f": {found.message.rstrip('.')}" if found.message else ""
        if found.state == TIMED_OUT:
            self.on_kill()
            raise AnyscaleUnavailable(
                f"Job {self.job_id} took longer than job_timeout_seconds ({self.job_timeout_seconds}), and was ended. "
                f"At last it was {found.message or 'never seen'}."
            )
        if found.state == UNREACHABLE:
            raise AnyscaleUnavailable(
                f"Nothing is known of job {self.job_id} any more{why}. The job may still run: it was not ended, and a "
                "retry of this Airflow task finds it."
            )
        if found.state == REFUSED:
            raise AnyscaleRefused(f"Job {self.job_id} cannot be watched{why}. It may still run: it was not ended.")
        if word == "TERMINATED":
            raise AnyscaleRefused(f"Job {self.job_id} was ended by somebody at Anyscale (TERMINATED){why}.")
        raise AnyscaleRefused(
            f"Job {self.job_id} failed ({found.state}){why}. The end of its log is above; its page has the rest."
        )


def _word(record: Mapping[str, Any]) -> str:
    state = str((record.get("state") or {}).get("current_state", ""))
    return wire.JOB_WORDS.get(state, state)
