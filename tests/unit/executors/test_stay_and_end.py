"""A container that stays asks S3 for its next workload, and the executor comes to its end: neither stumbles over what it
calls."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.executor_airflow import ecs_conf

from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.in_container import stay

pytestmark = pytest.mark.unit


class S3:
    """As boto3's client: does what the test says, and remembers."""

    def __init__(self, *, there: bool = False, broken: bool = False) -> None:
        self.there, self.broken = there, broken
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def _call(self, verb: str, broken: bool, request: dict[str, Any]) -> None:
        self.calls.append((verb, request))
        if broken:
            raise KeyError(f"no {verb}")

    def head_object(self, **request: Any) -> None:
        self._call("head", self.broken or not self.there, request)

    def put_object(self, **request: Any) -> None:
        self._call("put", self.broken, request)

    def delete_object(self, **request: Any) -> None:
        self._call("delete", self.broken, request)


def test_without_another_workload_the_mailbox_is_closed_on_condition_that_nothing_is_in_it() -> None:
    s3 = S3()
    assert stay.another(s3, "b", "k", 0) is False
    assert s3.calls == [("put", {"Bucket": "b", "Key": "k", "Body": stay.CLOSED, "IfNoneMatch": "*"})]


def test_where_it_cannot_be_closed_one_looks_once_more() -> None:
    """The executor has put something there, or S3 has a bad moment: what is there must not be lost."""
    assert stay.another(S3(broken=True), "b", "k", 0) is True


def test_what_is_there_is_seen() -> None:
    s3 = S3(there=True)
    assert stay.another(s3, "b", "k", 60) is True
    assert s3.calls == [("head", {"Bucket": "b", "Key": "k"})]


def test_what_s3_does_not_take_is_said_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert stay.told(S3(), "b", "k") is True
    assert stay.told(S3(broken=True), "b", "k") is False
    assert capsys.readouterr().err == "this container cannot stay: 'no put'\n"
    s3 = S3()
    stay.tidy(s3, "b", "one", "two")
    assert s3.calls == [("delete", {"Bucket": "b", "Key": "one"}), ("delete", {"Bucket": "b", "Key": "two"})]
    stay.tidy(S3(broken=True), "b", "one", "two")
    assert capsys.readouterr().err == "one stays: 'no delete'\n"


class Breaking(AwsEcsExecutor):
    """One with a mistake in it."""

    @property
    def compute(self) -> Any:
        raise KeyError("a mistake")

    def sync(self) -> None:
        raise KeyError("a mistake")


def test_a_mistake_of_ours_holds_up_neither_the_schedulers_end_nor_who_reads_a_log() -> None:
    executor = Breaking(parallelism=1)
    executor.conf = ecs_conf()  # type: ignore[assignment]
    executor.end()
    executor.terminate()

    class Ti:
        external_executor_id, try_number = "x", 1

    said, lines = executor.get_task_log(Ti(), 1)
    assert (said, lines) == (["Nothing can be said of the container: KeyError: 'a mistake'"], [])
