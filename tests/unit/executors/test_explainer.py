"""What is found out about an ECS task or a Batch job that ended, from AWS's answers, with links where there is a
console."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.executors.test_executor_ecs import refusal

from skylift.aws.batch.endings import BatchEndings
from skylift.aws.ecs.endings import EcsEndings
from skylift.aws.output import LogReader, Stream
from skylift.core.errors import SkyliftError
from skylift.executors.last_words.batch import BatchExplainer
from skylift.executors.last_words.ecs import EcsExplainer

pytestmark = pytest.mark.unit
AT = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
REF = "arn:aws:ecs:eu-west-1:000000000000:task/theirs/0123"
JOB = "arn:aws:batch:eu-west-1:000000000000:job/0123"
LOG = {"awslogs-group": "/g", "awslogs-stream-prefix": "p", "awslogs-region": "eu-west-1"}
CONSOLE = "https://console.aws.amazon.com"


class Service:
    """Stands where boto3's client for ECS or Batch would; without an answer it knows nothing."""

    def __init__(self, *answers: dict[str, Any], at: str = "https://x.eu-west-1.amazonaws.com", **log: Any) -> None:
        self.meta = SimpleNamespace(endpoint_url=at)
        self.asked: list[dict[str, Any]] = []
        self._answers, self._log = answers, log

    def describe_tasks(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return {"tasks": list(self._answers)}

    def describe_task_definition(self, taskDefinition: str) -> dict[str, Any]:
        assert taskDefinition == "arn:def:1"
        return {"taskDefinition": {"containerDefinitions": [{"name": "sidecar"}, {"name": "main", **self._log}]}}

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        return {"jobs": [one for one in self._answers if one["jobId"] in jobs]}


class Printed:
    """A session whose CloudWatch Logs has these lines of any stream."""

    def __init__(self, *lines: str, error: Exception | None = None) -> None:
        self.lines, self.error, self.asked = lines, error, list[tuple[str, str, str, int]]()

    def client(self, service: str, region_name: str, config: Any) -> Any:
        def get_log_events(**request: Any) -> dict[str, Any]:
            self.asked.append((region_name, request["logGroupName"], request["logStreamName"], request["limit"]))
            if self.error:
                raise self.error
            return {"events": [{"message": f"{line}\n"} for line in self.lines], "nextForwardToken": "f"}

        return SimpleNamespace(get_log_events=get_log_events)


def task(**fields: Any) -> dict[str, Any]:
    main = {"name": "main", "exitCode": 137, "reason": "OutOfMemoryError: Container killed", "memory": "512"}
    return {
        "taskArn": REF,
        "clusterArn": "arn:aws:ecs:eu-west-1:000000000000:cluster/theirs",
        "taskDefinitionArn": "arn:def:1",
        "lastStatus": "STOPPED",
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "startedAt": AT,
        "stoppedAt": AT,
        "memory": "2048",
        "containers": [{"name": "sidecar", "exitCode": 0}, main],
        **fields,
    }


def ecs_witness(service: Service, printed: Printed, most: int = 2) -> EcsExplainer:
    return EcsExplainer(EcsEndings(service, "ours"), "main", LogReader(printed), most=most, pause=lambda: None)


AWSLOGS = {"logConfiguration": {"logDriver": "awslogs", "options": LOG}}
TASK_LINK = f"{CONSOLE}/ecs/v2/clusters/theirs/tasks/0123/configuration?region=eu-west-1"
LOG_LINK = (
    f"{CONSOLE}/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Fg/log-events/p$252Fmain$252F0123"
)


def test_an_ecs_task_that_was_out_of_memory() -> None:
    service, printed = Service(task(), **AWSLOGS), Printed("one", "two")
    assert ecs_witness(service, printed).explain(REF).splitlines() == [
        "Killed for memory: the container went over its memory limit of 512 MiB (memory of container main).",
        f"AWS console: {TASK_LINK}",
        f"Last lines of the container's log ({LOG_LINK}):",
        "one",
        "two",
    ]
    assert service.asked == [{"tasks": [REF], "cluster": "theirs"}], "the ARN's cluster, not that of the options"
    assert printed.asked[0] == ("eu-west-1", "/g", "p/main/0123", 2)


@pytest.mark.parametrize(
    ("own", "whole", "limit"),
    [
        ("512", "2048", "512 MiB (memory of container main)"),
        ("2048", "2048", "2048 MiB (memory of container main)"),
        ("4096", "2048", "2048 MiB (memory of the ECS task)"),
        (None, "2048", "2048 MiB (memory of the ECS task)"),
        ("512", None, "512 MiB (memory of container main)"),
        (None, None, "a size that is not known"),
    ],
)
def test_the_limit_is_the_one_that_bit(own: str | None, whole: str | None, limit: str) -> None:
    main = {"name": "main", "exitCode": 137, "reason": "OutOfMemoryError", "memory": own}
    service = Service(task(containers=[main], memory=whole), **AWSLOGS)
    assert f"its memory limit of {limit}." in ecs_witness(service, Printed()).explain(REF)


@pytest.mark.parametrize(
    ("stop_code", "memory"), [("EssentialContainerExited", True), ("", True), ("UserInitiated", False)]
)
def test_a_sigkill_after_somebodys_stop_is_not_taken_for_memory(stop_code: str, memory: bool) -> None:
    service = Service(task(stopCode=stop_code, containers=[{"name": "main", "exitCode": 137}]), **AWSLOGS)
    assert ("If it was for memory" in ecs_witness(service, Printed()).explain(REF)) is memory


def test_another_endpoint_has_no_console() -> None:
    service = Service(task(), at="http://127.0.0.1:4747", **AWSLOGS)
    explainer = ecs_witness(service, Printed("one"))
    assert "console" not in explainer.explain(REF)
    assert "Last lines of the container's log (log group /g, stream p/main/0123):" in explainer.explain(REF)
    assert "console" not in explainer.standing(REF)


def test_without_lines_to_be_had_the_rest_is_told_all_the_same() -> None:
    denied = Printed(error=refusal("AccessDeniedException"))
    lines = ecs_witness(Service(task(), **AWSLOGS), denied).explain(REF).splitlines()
    assert lines[1] == f"AWS console: {TASK_LINK}"
    assert lines[2].startswith("Last lines of the container's log cannot be shown: ")
    (*_, last) = ecs_witness(Service(task()), Printed("x")).explain(REF).splitlines()
    assert "container main of arn:def:1 has no log driver awslogs with awslogs-group" in last


def test_one_that_never_started_has_printed_nothing() -> None:
    never = task(startedAt=None, stopCode="TaskFailedToStart", containers=[{"name": "main"}])
    printed = Printed("another's")
    assert ecs_witness(Service(never, **AWSLOGS), printed).explain(REF) == f"AWS console: {TASK_LINK}"
    assert ecs_witness(Service(task(), **AWSLOGS), printed, most=0).explain(REF).count("\n") == 1
    assert printed.asked == []


def test_how_an_ecs_task_stands() -> None:
    explainer = ecs_witness(Service(task(), **AWSLOGS), Printed())
    assert explainer.standing(REF) == (
        f"ECS task {REF} is STOPPED since 2026-11-20T01:02:03+00:00: EssentialContainerExited Essential container in "
        "task "
        f"exited OutOfMemoryError: Container killed {TASK_LINK}"
    )
    output = explainer.output(REF)
    assert output
    assert output.stream == Stream("/g", "p/main/0123", "eu-west-1")
    nobody = ecs_witness(Service(), Printed())
    assert (nobody.explain(REF), nobody.output(REF)) == ("", None)
    assert nobody.standing(REF) == f"ECS does not know {REF} (yet, or any more)."


def job(**fields: Any) -> dict[str, Any]:
    container = {
        "exitCode": 137,
        "reason": "OutOfMemoryError: Container killed",
        "logStreamName": "work/default/0123",
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        "logConfiguration": {"logDriver": "awslogs", "options": LOG},
    }
    return {
        "jobId": "0123",
        "jobArn": JOB,
        "jobName": "n",
        "status": "FAILED",
        "statusReason": "Essential container in task exited",
        "createdAt": 1,
        "startedAt": 1,
        "stoppedAt": int(AT.timestamp() * 1000),
        "container": container,
        **fields,
    }


def batch_witness(service: Service, printed: Printed, most: int = 2) -> BatchExplainer:
    return BatchExplainer(BatchEndings(service), LogReader(printed), most=most, pause=lambda: None)


JOB_LINK = f"{CONSOLE}/batch/home?region=eu-west-1#jobs/detail/0123"


def test_a_batch_job_that_was_out_of_memory() -> None:
    printed = Printed("one", "two")
    first, second, third, *lines = batch_witness(Service(job()), printed).explain("0123").splitlines()
    assert first == "Killed for memory: the container went over its memory limit of 512 MiB (MEMORY of the Batch job)."
    assert second == f"AWS console: {JOB_LINK}"
    assert third.startswith(f"Last lines of the container's log ({CONSOLE}/cloudwatch/home?region=eu-west-1#")
    assert lines == ["one", "two"]
    assert printed.asked[0] == ("eu-west-1", "/g", "work/default/0123", 2)


def test_a_batch_job_whose_lines_cannot_be_read_or_are_not_wanted() -> None:
    denied = Printed(error=refusal("AccessDeniedException"))
    last = batch_witness(Service(job()), denied).explain("0123").splitlines()[-1]
    assert last.startswith("Last lines of the container's log cannot be shown: ")
    quiet = Printed("x")
    assert len(batch_witness(Service(job()), quiet, most=0).explain("0123").splitlines()) == 2
    never = job(container={}, startedAt=None, statusReason="Task failed to start")
    assert batch_witness(Service(never), quiet).explain("0123") == f"AWS console: {JOB_LINK}"
    assert quiet.asked == []


def test_how_a_batch_job_stands() -> None:
    explainer = batch_witness(Service(job()), Printed())
    reason = "Essential container in task exited"
    since = "2026-11-20T01:02:03+00:00"
    assert explainer.standing("0123") == f"Batch job {JOB} is FAILED since {since}: {reason} {JOB_LINK}"
    output = explainer.output("0123")
    assert output
    assert output.stream == Stream("/g", "work/default/0123", "eu-west-1")
    running = job(status="RUNNING", statusReason="", startedAt=0, stoppedAt=None)
    assert batch_witness(Service(running, at="http://127.0.0.1:1"), Printed()).standing("0123") == (
        f"Batch job {JOB} is RUNNING since "
    )
    nobody = batch_witness(Service(), Printed())
    assert (nobody.explain("0123"), nobody.output("0123")) == ("", None)
    assert nobody.standing("0123") == "Batch does not know the job 0123 (yet, or any more)."


def test_a_service_that_refuses_to_tell_raises_for_whoever_asked() -> None:
    class Denied(Service):
        def describe_tasks(self, **request: Any) -> dict[str, Any]:
            raise refusal("AccessDeniedException")

        def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
            raise refusal("AccessDeniedException")

    for ask in (ecs_witness(Denied(), Printed()).explain, batch_witness(Denied(), Printed()).standing):
        with pytest.raises(SkyliftError, match="AccessDenied"):
            ask(REF)
