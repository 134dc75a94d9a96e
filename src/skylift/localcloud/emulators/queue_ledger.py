"""The journal of SQS: what came into queues, and what went, is on the disk before the answer, however much the queues
hold.

Queues are looked at before an operation and after it; the difference is a few lines, one for each queue that has
changed. What an operation changed can so be undone when the disk is full, and nothing else with it. A look costs next
to nothing for a queue that is as it was or that messages were added to; one that lost messages is gone through.
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
"""Members of a message that a receiver changes; a queue may deliver twice, so they are written a moment later."""


@dataclass
class _Known:
    """A queue as it was written last.

    Attributes:
        queue: ministack's own record.
        listed: ministack's own list of messages. It is added to, or emptied; one that loses some is made anew.
        length: of that list, as it was.
        members: all but the messages, each dictionary copied.
        messages: by id, in order; ministack's own.
        received: message id to what its receivers had made of it.
    """

    queue: Queue
    listed: list[Any] = field(default_factory=list)
    length: int = 0
    members: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    received: dict[str, tuple[Any, ...]] = field(default_factory=dict)


class QueueLedger:
    """Writes down what becomes of queues.

    Args:
        queues: ministack's queues: (account, region, URL) to queue.
        reindex: has ministack look at the queues' names again.
    """

    def __init__(self, queues: dict[Any, Queue], reindex: Callable[[], None], journal: Journal) -> None:
        self._queues = queues
        self._reindex = reindex
        self._journal = journal
        self._known: dict[Any, _Known] = {}
        self._owed: list[Line] = []

    def load(self, lines: Iterator[Line]) -> bool:
        """Plays what was written since the whole, and takes it all for known. Says whether there was anything."""
        played = False
        for line in lines:
            played = True
            _play(self._queues, line)
        self._reindex()
        self.whole_is_written()
        return played

    def note(self) -> None:
        """Notices what others than the operation that now begins have changed; written with the next line."""
        self._owed += [line for line, _ in self._look()]

    def keep(self) -> Undo:
        """Writes what an operation has changed since ``note``. Returns how to undo it, for when others' part of it
        fails.

        Raises:
            OSError: it cannot be written; then it is undone.
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
        """Writes all that has changed, receivers' marks too. Raises ``OSError``: then it is owed."""
        self.note()
        self._owed += list(self._marks())
        self._append(self._owed)
        self._owed.clear()

    def whole_is_written(self) -> None:
        """The whole, as it is now, is being written: the lines of before are of no use to it."""
        self._owed.clear()
        self._known.clear()
        for _ in self._look():
            pass

    def _append(self, lines: list[Line]) -> int:
        return self._journal.append(*lines) if lines else -1

    def _look(self) -> Iterator[tuple[Line, Undo]]:
        """Each queue that is not as it is known, as a line; after that it is known as it is."""
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
            # One that was written whole, and that nobody has received since, needs no mark.
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
    """What has changed; of a member that is a dictionary (deduplication, tags) only its items."""
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
