"""The mailboxes of warm containers: one contract, on the shipped fake and on keys of a bucket (``tests/local`` has S3's
conditional writes)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from skylift.aws.s3_objects import Listed
from skylift.core.attempt import Exit
from skylift.executors.in_container.mailboxes import FakeMailboxes, Mailbox, Mailboxes, S3Mailboxes
from skylift.executors.in_container.stay import CLOSED

pytestmark = pytest.mark.unit
FIRST, SECOND, OTHER = Mailbox("a.1", 1), Mailbox("a.1", 2), Mailbox("a.10", 1)


class Bucket:
    """One bucket, with the calls of ``S3Objects``."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        assert bucket == "b"
        if key in self.kept:
            return False
        self.kept[key] = body
        return True

    def put(self, bucket: str, key: str, body: bytes) -> None:
        assert bucket == "b"
        self.kept[key] = body

    def read(self, bucket: str, key: str) -> bytes | None:
        assert bucket == "b"
        return self.kept.get(key)

    def below(self, bucket: str, prefix: str) -> Iterator[Listed]:
        assert bucket == "b"
        return (Listed(key, "etag", len(self.kept[key])) for key in sorted(self.kept) if key.startswith(prefix))

    def remove(self, bucket: str, key: str) -> None:
        assert bucket == "b"
        del self.kept[key]


class OnKeys:
    """S3's mailboxes, and what a container does to the keys."""

    def __init__(self, url: str = "s3://b/work/e") -> None:
        self.bucket: Any = Bucket()
        self.mailboxes = S3Mailboxes(self.bucket, url)

    def end(self, mailbox: Mailbox, code: int) -> None:
        self.bucket.kept[f"work/e/warm/{mailbox.container}/{mailbox.number}-{code}"] = b""


class OnFake:
    def __init__(self) -> None:
        self.mailboxes = FakeMailboxes()
        self.end = self.mailboxes.end


@pytest.fixture(params=[OnFake, OnKeys], ids=["fake", "s3"])
def world(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_a_mailbox_takes_one_workload(world: Any) -> None:
    mailboxes: Mailboxes = world.mailboxes
    assert mailboxes.standing(FIRST) is None
    assert mailboxes.offer(FIRST, "workload") is True
    assert mailboxes.offer(FIRST, "another") is False
    assert mailboxes.standing(FIRST) == "workload"
    assert mailboxes.standing(SECOND) is None
    assert mailboxes.offer(SECOND, CLOSED) is True
    assert mailboxes.offer(SECOND, "late") is False
    assert mailboxes.standing(SECOND) == CLOSED


def test_ends_are_told_with_their_codes(world: Any) -> None:
    mailboxes: Mailboxes = world.mailboxes
    mailboxes.offer(FIRST, "workload")
    assert mailboxes.ended() == {}
    world.end(FIRST, Exit.DONE)
    world.end(OTHER, 137)
    assert mailboxes.ended() == {FIRST: 0, OTHER: 137}


def test_where_a_workload_goes_is_known_afterwards(world: Any) -> None:
    mailboxes: Mailboxes = world.mailboxes
    assert mailboxes.promised("x") is None
    mailboxes.promise("x", SECOND, "arn:1#2")
    mailboxes.promise("y", FIRST, "arn:1")
    assert mailboxes.promised("x") == (SECOND, "arn:1#2")
    mailboxes.promise("x", OTHER, "arn:2")
    assert mailboxes.promised("x") == (OTHER, "arn:2")


def test_what_an_ended_container_left_is_removed_and_nothing_else(world: Any) -> None:
    mailboxes: Mailboxes = world.mailboxes
    for mailbox in (FIRST, SECOND, OTHER):
        mailboxes.offer(mailbox, "workload")
    world.end(FIRST, 0)
    mailboxes.promise("x", FIRST, "arn:1")
    mailboxes.clear("a.1")
    assert [mailboxes.standing(one) for one in (FIRST, SECOND, OTHER)] == [None, None, "workload"]
    assert mailboxes.ended() == {}
    assert mailboxes.promised("x") == (FIRST, "arn:1")
    mailboxes.clear("a.1")


@pytest.mark.parametrize(("url", "begin"), [("s3://b/work/e/", "work/e/"), ("s3://b", ""), ("s3://b/x", "x/")])
def test_the_keys_are_those_that_containers_know(url: str, begin: str) -> None:
    world = OnKeys(url)
    world.mailboxes.offer(FIRST, "workload")
    world.mailboxes.promise("x", FIRST, "arn:1")
    world.bucket.kept[f"{begin}warm/a.1/strange"] = world.bucket.kept[f"{begin}warm/a.1/1-x"] = b""
    assert world.bucket.kept[f"{begin}warm/a.1/1"] == b"workload"
    assert world.bucket.kept[f"{begin}warm-of/x"] == b"a.1\n1\narn:1"
    assert world.mailboxes.ended() == {}, "only what is an end"
