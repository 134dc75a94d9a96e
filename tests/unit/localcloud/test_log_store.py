"""The store of CloudWatch Logs: order, pages, tokens, retention, what is taken over, what PutLogEvents takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skylift.core.clock import ManualClock
from skylift.localcloud.damage import Damaged
from skylift.localcloud.emulators.whole_file import whole
from skylift.localcloud.logs.batches import START, Place, StoredEvent, pack
from skylift.localcloud.logs.patterns.pattern import parse
from skylift.localcloud.logs.put_rules import accepted, check_size
from skylift.localcloud.logs.reading import LAST, EventRange, read_page, read_page_before
from skylift.localcloud.logs.retention import LogRetention
from skylift.localcloud.logs.store import LogGroup, LogStore
from skylift.localcloud.logs.takeover import take_over
from skylift.localcloud.logs.tokens import digits_of, page_token, page_words, place_of
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit
DAY = 86_400_000
NOW = 1_800_000_000.0
Batches = list[tuple[str, list[int]]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LogStore]:
    made = LogStore(tmp_path / "logs.db", ManualClock(NOW))
    made.open()
    yield made
    made.close()


def filled(store: LogStore, batches: Batches) -> tuple[LogGroup, list[tuple[int, int, str]]]:
    """A group with these batches; and its events as time, batch and message, in order."""
    store.add_group("g", {})
    events = list[tuple[int, int, str]]()
    for number, (stream, times) in enumerate(batches):
        group = store.group("g")
        assert group is not None
        known = store.stream(group, stream) or store.add_stream(group, stream)
        messages = [f"{stream} {number} {place} {'odd' if at % 2 else 'even'}" for place, at in enumerate(times)]
        store.append(group, known, times, pack(times, messages))
        events += [(at, number, message) for at, message in zip(times, messages, strict=True)]
    group = store.group("g")
    assert group is not None
    events.sort(key=lambda one: one[:2])
    return group, events


def pages(store: LogStore, wanted: EventRange, limit: int, *, backwards: bool = False) -> list[StoredEvent]:
    """All events, page by page, in the order in which they are read."""
    found, place, last = list[StoredEvent](), START, Place(LAST, LAST, LAST)
    with store.reading() as disk:
        while True:
            if backwards:
                page = read_page_before(disk, wanted, last, limit)
                if not page.events:
                    return found
                found, last = [*page.events, *found], page.events[0].place
            else:
                forth = read_page(disk, wanted, place, limit)
                found += forth.events
                if forth.next is None:
                    return found
                place = forth.next


BATCHES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(st.integers(0, 40), min_size=1, max_size=6).map(sorted)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES, st.integers(1, 7), st.integers(0, 41), st.integers(0, 41))
def test_pages_of_any_length_give_every_event_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, batches: Batches, limit: int, start: int, end: int
) -> None:
    store = LogStore(tmp_path_factory.mktemp("s") / "logs.db", ManualClock(NOW))
    store.open()
    try:
        group, events = filled(store, batches)
        inside = [one for one in events if start <= one[0] < end]
        found = pages(store, EventRange(group.id, group.widest, None, start, end), limit)
        assert [(one.place.time, one.message) for one in found] == [(at, message) for at, _, message in inside]
        odd = pages(store, EventRange(group.id, group.widest, None, start, end, parse("odd")), limit)
        assert [one.message for one in odd] == [message for _, _, message in inside if message.endswith("odd")]
        for name in {stream for stream, _ in batches}:
            stream = store.stream(group, name)
            assert stream is not None
            wanted = EventRange(group.id, group.widest, [stream.id], start, end)
            of_stream = [message for _, _, message in inside if message.startswith(name)]
            assert [one.message for one in pages(store, wanted, limit)] == of_stream
            assert [one.message for one in pages(store, wanted, limit, backwards=True)] == of_stream
    finally:
        store.close()


def test_a_page_is_at_most_a_megabyte(store: LogStore) -> None:
    group = store.add_group("g", {})
    stream = store.add_stream(group, "s")
    for number in range(30):
        store.append(group, stream, [number], pack([number], ["x" * 100_000]))
    wanted = EventRange(group.id, DAY)
    with store.reading() as disk:
        page = read_page(disk, wanted, START, 10_000)
    assert len(page.events) == 10
    assert page.next == page.events[-1].place
    assert len(pages(store, wanted, 10_000)) == 30


def test_events_past_their_retention_and_of_deleted_streams_give_their_space_back(store: LogStore) -> None:
    now = int(NOW * 1000)
    group, _ = filled(store, [("a", [now - 8 * DAY]), ("a", [now - 8 * DAY, now - 6 * DAY]), ("b", [now])])
    store.change_group(group, retention=7)
    kept = store.group("g")
    assert kept is not None
    before = kept.stored
    assert asyncio.run(LogRetention(store).sweep()) == 1
    after = store.group("g")
    assert after is not None
    assert 0 < after.stored < before
    stream = store.stream(after, "a")
    assert stream is not None
    assert stream.first == now - 8 * DAY, "of the batch that is kept for its other event"
    store.remove_stream(after, stream)
    assert asyncio.run(LogRetention(store).sweep()) == 1
    left = store.group("g")
    assert left is not None
    with store.reading() as disk:
        assert disk.execute("SELECT count(*), sum(size) FROM batch").fetchone() == (1, left.stored)
    store.remove_group(left)
    assert asyncio.run(LogRetention(store).sweep()) == 1
    assert asyncio.run(LogRetention(store).sweep()) == 0


def test_a_removed_group_is_out_of_sight_at_once(store: LogStore) -> None:
    group, events = filled(store, [("a", [1, 2])])
    assert len(pages(store, EventRange(group.id, group.widest), 9)) == len(events)
    store.remove_group(group)
    assert store.group("g") is None
    assert pages(store, EventRange(group.id, group.widest), 9) == []
    assert store.add_group("g", {}).id != group.id


def test_what_put_log_events_takes() -> None:
    now = 100 * DAY
    assert accepted([now - 1, now], now, 0).rejected is None
    taken = accepted([now - 14 * DAY - 5, now - 14 * DAY + 1], now, 0)
    assert (taken.first, taken.last, taken.rejected) == (1, 2, {"tooOldLogEventEndIndex": 1})
    taken = accepted([now, now + 2 * 3_600_000 + 1], now, 0)
    assert (taken.first, taken.last, taken.rejected) == (0, 1, {"tooNewLogEventStartIndex": 1})
    taken = accepted([now - 3 * DAY, now - 3 * DAY + 1, now - 2 * DAY], now, 3)
    assert (taken.first, taken.last, taken.rejected) == (0, 3, None)
    taken = accepted([now - 3 * DAY - 2, now - 3 * DAY - 1, now - 3 * DAY], now, 3)
    assert (taken.first, taken.last, taken.rejected) == (2, 3, {"expiredLogEventEndIndex": 2})
    taken = accepted([0], now, 0)
    assert taken.first == taken.last, "nothing is left"


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([5, 4], "Log events in a single PutLogEvents request must be in chronological order."),
        (
            [5, 6 + DAY],
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ),
    ],
)
def test_a_batch_that_is_refused(times: Sequence[int], words: str) -> None:
    with pytest.raises(AwsError) as caught:
        accepted(times, 6 + DAY, 0)
    assert (caught.value.code, caught.value.message) == ("InvalidParameterException", words)


def test_sizes_that_are_refused() -> None:
    check_size(1_048_576, 1_048_550)
    with pytest.raises(AwsError) as caught:
        check_size(1_048_577, 5)
    assert caught.value.message == "Upload too large: 1048577 bytes exceeds limit of 1048576"
    with pytest.raises(AwsError) as caught:
        check_size(1_048_577, 1_048_551)
    assert caught.value.message == "Log event too large: 1048577 bytes exceeds limit of 1048576"


@given(st.builds(Place, st.integers(-1, LAST // 8), st.integers(0, 10**20), st.integers(-1, 10**6)))
def test_a_place_written_down_is_the_same_place(place: Place) -> None:
    assert place_of(digits_of(place)) == place
    assert len(digits_of(place)) == 56


def test_a_token_of_another_question_is_refused() -> None:
    token = page_token({"skip": 3}, ["a"])
    assert page_words(token, ["a"]) == {"skip": 3}
    for bad in (token, "x", "", "e30="):
        with pytest.raises(AwsError) as caught:
            page_words(bad, ["b"])
        assert caught.value.message == "The specified nextToken is invalid."


def old_state(folder: Path, *, journal: bytes = b"") -> None:
    """As skylift wrote it before its logs were a database."""
    event = {"timestamp": 5, "message": "from the whole file", "ingestionTime": 6}
    stream = {"events": [event, {**event, "timestamp": 3, "message": "older"}], "creationTime": 2}
    group = {
        "arn": "a",
        "creationTime": 1,
        "retentionInDays": 7,
        "tags": {"k": "v"},
        "subscriptionFilters": {},
        "streams": {"s": stream, "empty": {"events": [], "creationTime": 2}},
    }
    key = "000000000000\0us-east-1\0'g'"
    saved = {"log_groups": {"__account_region_scoped__": True, "data": {key: group}}}
    (folder / "cloudwatch_logs.json").write_bytes(whole(3, json.dumps(saved).encode(), 4))
    (folder / "logs-00000004.journal").write_bytes(journal)


def test_an_older_state_is_taken_over_once(tmp_path: Path, store: LogStore) -> None:
    line = [9.0, "000000000000", "us-east-1", "PutLogEvents", {"logGroupName": "g"}]
    other = [9.5, "000000000000", "eu-west-1", "PutLogEvents", {"logGroupName": "g"}]
    cut = b'[9.9,"00'
    old_state(tmp_path, journal=json.dumps(line).encode() + b"\n" + json.dumps(other).encode() + b"\n" + cut)
    played = list[Any]()
    for _ in range(2):
        take_over(tmp_path, store, "000000000000", "us-east-1", lambda *change: played.append(change))
    assert played == [(9.0, "PutLogEvents", {"logGroupName": "g"})]
    group = store.group("g")
    assert group is not None
    assert (group.retention, group.created, group.more["tags"]) == (7, 1, {"k": "v"})
    found = pages(store, EventRange(group.id, group.widest), 10)
    assert [(one.place.time, one.message) for one in found] == [(3, "older"), (5, "from the whole file")]
    assert [one.name for one in store.streams(group)] == ["empty", "s"]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"cloudwatch_logs.json.taken-over", "logs-00000004.journal.taken-over"} <= names
    assert "cloudwatch_logs.json" not in names


def test_a_damaged_older_state_is_left_as_it_is(tmp_path: Path, store: LogStore) -> None:
    old_state(tmp_path, journal=b"no json\n")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.journal")} | {
        path: path.read_bytes() for path in tmp_path.glob("*.json")
    }
    with pytest.raises(Damaged, match="line 1 is not JSON"):
        take_over(tmp_path, store, "000000000000", "us-east-1", lambda *_: None)
    assert {path: path.read_bytes() for path in before} == before
    assert store.groups() == []
