"""The journal of SQS: what was added to or removed from queues is on the disk before the answer, however much the
queues contain.

Queues are compared before and after an operation; the difference is a few lines, one for each changed queue. So an
operation can be undone when the disk is full, and nothing else with it. Comparing is almost free for a queue that is
unchanged or only grew; a queue that lost messages is compared message by message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from skylift.localcloud.emulators.journal import Journal

Queue = dict[str, Any]
Line = dict[str, Any]
Undo = Callable[[], None]
_RECEIVED = ("receive_count", "visible_at", "receipt_handle", "first_receive_at")
"""Members of a message that receiving changes. A queue may deliver twice, so they may be written a moment later."""


@dataclass
class _Known:
    """A queue as it was last written.

    Attributes:
        queue: ministack's own record.
        listed: ministack's own list of messages. Messages are appended, or all removed; to remove some, ministack makes
            a new list.
        length: of that list, at that time.
        members: all but the messages, each dictionary copied.
        messages: by id, in order; ministack's own.
        received: from a message's id to what its receivers have changed.
    """

    queue: Queue
    listed: list[Any] = field(default_factory=list)
    length: int = 0
    members: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    received: dict[str, tuple[Any, ...]] = field(default_factory=dict)


class QueueLedger:
    """Writes the changes of queues.

    Args:
        queues: ministack's queues: (account, region, URL) to queue.
        reindex: makes ministack rebuild its index of the queues' names.
    """

    def __init__(self, queues: dict[Any, Queue], reindex: Callable[[], None], journal: Journal) -> None:
        self._queues = queues
        self._reindex = reindex
        self._journal = journal
        self._known: dict[Any, _Known] = {}
        self._owed: list[Line] = []

    def load(self, lines: Iterator[Line]) -> bool:
        """Replays the lines since the whole file, and takes the result as known. Returns whether there were any."""
        played = False
        for line in lines:
            played = True
            _play(self._queues, line)
        self._reindex()
        self.whole_is_written()
        return played

    def note(self) -> None:
        """Finds changes made by others than the operation that now begins; they are written with the next line."""
        self._owed += [line for line, _ in self._look()]

    def keep(self) -> Undo:
        """Writes what an operation has changed since ``note``. Returns a function that undoes it, for when another
        service's part of the operation fails.

        Raises:
            OSError: it cannot be written, and has been undone.
        """
        changes = list(self._look())

        def undo() -> None:
            for _, step in reversed(changes):
                step()
            self._reindex()

        begin = -1
        try:
            begin = self._append([*self._owed, *(line for line, _ in changes)])
        except OSError:
            undo()
            raise
        owed, self._owed = self._owed, []
        written = self._journal.number, self._journal.size

        def take_back() -> None:
            undo()
            if begin >= 0 and written == (self._journal.number, self._journal.size):
                self._journal.take_back(begin)
                self._owed = [*owed, *self._owed]
            else:
                self.note()

        return take_back

    def write(self) -> None:
        """Writes all changes, receivers' marks too. Raises ``OSError``; the changes are then written later."""
        self.note()
        self._owed += list(self._marks())
        self._append(self._owed)
        self._owed.clear()

    def whole_is_written(self) -> None:
        """The whole state is being written as it is now: earlier lines are not needed."""
        self._owed.clear()
        self._known.clear()
        for _ in self._look():
            pass

    def _append(self, lines: list[Line]) -> int:
        return self._journal.append(*lines) if lines else -1

    def _look(self) -> Iterator[tuple[Line, Undo]]:
        """Yields a line for each queue that differs from what is known, and takes the new state as known."""
        for key in [key for key in self._known if key not in self._queues]:
            known = self._known.pop(key)
            yield {"queue": key, "gone": True}, partial(self._put_back, key, known)
        for key, queue in list(self._queues.items()):
            before = self._known.get(key)
            new = before is None or before.queue is not queue
            known = _Known(queue) if before is None or new else before
            line: Line = {"queue": key, **({"new": True} if new else {})}
            undo_members = _compare_members(known, line)
            undo_messages = _compare_messages(known, line)
            self._known[key] = known
            if len(line) > 1:

                def undo(
                    key: Any = key,
                    before: _Known | None = before if new else known,
                    steps: Any = (undo_members, undo_messages),
                ) -> None:
                    for step in steps:
                        step()
                    self._put_back(key, before)

                yield line, undo

    def _put_back(self, key: Any, known: _Known | None) -> None:
        if known is None:
            self._queues.pop(key, None)
            self._known.pop(key, None)
        else:
            self._queues[key], self._known[key] = known.queue, known

    def _marks(self) -> Iterator[Line]:
        for key, known in self._known.items():
            marks = {
                name: mark
                for name, one in known.messages.items()
                if (mark := tuple(one.get(member) for member in _RECEIVED)) != known.received.get(name)
            }
            # A message that was written whole, and that nobody has received since, needs no mark.
            told = {name: mark for name, mark in marks.items() if name in known.received or mark[0]}
            known.received = {name: one for name, one in known.received.items() if name in known.messages} | marks
            if told:
                yield {"queue": key, "received": told}


def _compare_messages(known: _Known, line: Line) -> Undo:
    listed, before = known.queue["messages"], known.messages
    if listed is known.listed and len(listed) >= known.length:
        added = listed[known.length :]
        before.update((one["id"], one) for one in added)
        known.length = len(listed)
        if added:
            line["added"] = added
        return lambda: _take_out(known, added)
    messages = {one["id"]: one for one in listed}
    added = [one for name, one in messages.items() if name not in before]
    if added:
        line["added"] = added
    if removed := [name for name in before if name not in messages]:
        line["removed"] = removed
    known.listed, known.length, known.messages = listed, len(listed), messages

    def undo() -> None:
        known.messages = before
        _list_anew(known)

    return undo


def _take_out(known: _Known, added: list[Any]) -> None:
    names = {one["id"] for one in added}
    known.messages = {name: one for name, one in known.messages.items() if name not in names}
    _list_anew(known)


def _list_anew(known: _Known) -> None:
    known.listed = known.queue["messages"] = list(known.messages.values())
    known.length = len(known.listed)


def _compare_members(known: _Known, line: Line) -> Undo:
    """The changed members; of a dictionary (deduplication, tags) only the changed items."""
    before, now = known.members, {name: value for name, value in known.queue.items() if name != "messages"}
    changed: dict[str, Any] = {}
    for name, value in now.items():
        if name in before and value == before[name]:
            continue
        if not isinstance(value, dict):
            changed[name] = {"is": value}
            continue
        was: Mapping[str, Any] = before.get(name, {})
        items = {item: one for item, one in value.items() if item not in was or was[item] != one}
        changed[name] = {"items": items, "gone": [item for item in was if item not in value]}
    if not changed:
        return lambda: None
    line["members"] = changed
    known.members = {name: dict(value) if isinstance(value, dict) else value for name, value in now.items()}

    def undo() -> None:
        known.members = before
        for name in now:
            known.queue.pop(name)
        known.queue.update({name: dict(value) if isinstance(value, dict) else value for name, value in before.items()})

    return undo


def _play(queues: dict[Any, Queue], line: Line) -> None:
    key = tuple(line["queue"])
    if line.get("gone"):
        queues.pop(key, None)
        return
    if line.get("new") or key not in queues:
        queues[key] = {"messages": []}
    queue = queues[key]
    for name, change in line.get("members", {}).items():
        if "is" in change:
            queue[name] = change["is"]
            continue
        items = queue.setdefault(name, {})
        items.update(change["items"])
        for item in change["gone"]:
            items.pop(item, None)
    removed = set(line.get("removed", ()))
    queue["messages"] = [one for one in queue["messages"] if one["id"] not in removed] + line.get("added", [])
    received = line.get("received", {})
    for one in queue["messages"]:
        if one["id"] in received:
            one.update(zip(_RECEIVED, received[one["id"]], strict=True))
