"""Calls to Batch: errors sorted by who can act, lists, and settings with which the executor refuses to start."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest
from tests.unit.batch_double import Batch, World
from tests.unit.executor_airflow import Conf, batch_conf

from skylift.aws.batch.jobs import BatchJobs, NoQueue, Unclear
from skylift.aws.errors import Throttled
from skylift.core.attempt import Attempt
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.executors.batch import LAUNCHES, AwsBatchExecutor
from skylift.executors.options.batch import batch_options
from skylift.executors.options.settings import LAUNCH_RATE

pytestmark = pytest.mark.unit


class Failing:
    """A client of which every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _name: str) -> Any:
        def call(*_words: Any, **_request: Any) -> Any:
            raise self._error

        return call


def told(code: str, text: str = "why", status: int = 400) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(answer, "SubmitJob")  # type: ignore[arg-type]


ERRORS: list[tuple[Exception, type[SkyliftError]]] = [
    (told("TooManyRequestsException", status=429), Throttled),
    (told("ClientException", "Rate exceeded"), Throttled),
    (told("ServerException", status=500), Unclear),
    (told("InternalFailure", status=503), Unclear),
    (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), Unclear),
    (botocore.exceptions.ConnectionClosedError(endpoint_url="x"), Unclear),
    (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), Unavailable),
    (botocore.exceptions.ConnectTimeoutError(endpoint_url="x"), Unavailable),
    (botocore.exceptions.NoCredentialsError(), Unavailable),
    (told("ExpiredTokenException", status=403), Unavailable),
    (told("AccessDeniedException", status=403), Refused),
    (told("ClientException", "JobQueue q not found."), Refused),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=lambda one: getattr(one, "__name__", str(one))[:40])
def test_errors_say_who_can_act_and_whether_it_happened(error: Exception, expected: type[SkyliftError]) -> None:
    jobs = BatchJobs(Failing(error))
    for call in (
        lambda: jobs.submit({}),
        lambda: jobs.describe(["a"]),
        lambda: jobs.terminate("a", "why"),
        lambda: jobs.named("q", "n"),
        lambda: jobs.queue_state("q"),
    ):
        with pytest.raises(SkyliftError) as raised:
            call()
        assert type(raised.value) is expected, raised.value
        assert raised.value.__cause__ is error


def test_every_error_is_an_answer_of_submit_and_only_unclear_ones_are_looked_for() -> None:
    for error, expected in ERRORS:
        compute = World().compute(together=False)
        compute._jobs = BatchJobs(Failing(error))
        one = Attempt("e", 1, lambda: "{}")
        (answer,) = compute.submit([one])
        assert bool(answer.refused) == (expected is Refused), answer
        assert answer.throttled == (expected is Throttled)
        assert compute._in_doubt(one) == (expected is Unclear)


def test_names_are_told_apart_by_case_and_all_pages_are_read() -> None:
    world = World()
    for name in ("Job-a", "job-a", "job-ab", "job-a"):
        Batch(world).submit_job(jobName=name, jobQueue="jq")
    jobs = BatchJobs(Batch(world))
    assert [name for name, _ in jobs.named("jq", "job-a")] == ["job-a", "job-a"]
    assert [name for name, _ in jobs.named("jq", "job-a*")] == ["job-a", "job-ab", "job-a"]
    assert jobs.named("other", "job-a") == []


def executor(conf: Conf) -> AwsBatchExecutor:
    made = AwsBatchExecutor(parallelism=1)
    made.conf = conf  # type: ignore[assignment]
    return made


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"submit_job_kwargs": '{"colour": "blue"}'}, r"\[aws_batch_executor\] submit_job_kwargs: .*colour"),
        ({"submit_job_kwargs": '{"timeout": 60}'}, "timeout"),
        ({"skylift_queues": '{"gpu": {"submit_job_kwargs": {"colour": 1}}}'}, "'gpu'.*colour"),
        ({"skylift_batch_arrays": "True"}, "batch_arrays needs payload_url"),
        ({"skylift_payload_url": "http://x"}, "payload_url"),
        ({"job_queue": ""}, "job_queue"),
    ],
)
def test_a_wrong_option_stops_the_start_with_one_line(options: dict[str, str], named: str) -> None:
    with pytest.raises(Refused, match=named) as refused:
        executor(batch_conf(check_health_on_startup="False", conn_id="", **options)).make_compute()
    assert "\n" not in str(refused.value)


def test_a_queue_that_is_not_there_stops_the_start_and_a_bad_moment_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options, made = batch_options(batch_conf()), executor(batch_conf())

    class NoQueues(Batch):
        def describe_job_queues(self, jobQueues: list[str]) -> dict[str, Any]:
            return {"jobQueues": []}

    with pytest.raises(Refused, match=r"\[aws_batch_executor\] job_queue: .*'jq' does not exist"):
        made._check(BatchJobs(NoQueues(World())), options, "[aws_batch_executor]")
    with pytest.raises(NoQueue):
        BatchJobs(NoQueues(World())).queue_state("jq")
    for error in (
        told("AccessDeniedException"),
        told("TooManyRequestsException"),
        botocore.exceptions.NoCredentialsError(),
    ):
        made._check(BatchJobs(Failing(error)), options, "[aws_batch_executor]")
    made._check(BatchJobs(Batch(World())), options, "[aws_batch_executor]")


def test_the_rhythm_is_batch_s() -> None:
    plain = executor(batch_conf()).timing()
    assert (plain.launches, plain.linger, plain.most_attempts) == (LAUNCHES, 0.0, 3)
    arrays = executor(batch_conf(skylift_batch_arrays="True", skylift_array_linger_seconds="3"))
    assert arrays.timing().linger == 3.0
    assert executor(batch_conf(**{f"skylift_{LAUNCH_RATE.name}": "7"})).timing().launches == 7.0


def test_without_a_queue_of_events_there_is_no_source() -> None:
    assert executor(batch_conf(conn_id="")).make_source() is None
