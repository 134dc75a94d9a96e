"""Writes why an attempt ended to Airflow's log of that try, outside of the scheduler's thread.

A container that is killed for memory takes Airflow's supervisor with it, so nobody else can write it there. Whoever
opens the log after the end must find the reason. So the news of such an end is held back until it is written, but never
for long: a remote log that does not answer may cost the reason, not the end.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event as Bell
from threading import Thread

from airflow.configuration import conf

from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError
from skylift.executors import airflow_compat
from skylift.executors.fleet.flight import News, Stage
from skylift.executors.fleet.settle import Event, WorkloadKind
from skylift.executors.last_words import logs as last_words_logs
from skylift.executors.last_words.words import LAST_LINES

log = logging.getLogger(__name__)

MOST_HELD = 5.0
"""Seconds for which news waits for its words to be written."""

MOST_WAITING = 1000
"""Words that wait to be written; what comes beyond is not written (the event log has it)."""

Write = Callable[[str, Sequence[tuple[str, str]], float], None]
"""Log path, lines with their levels, seconds since 1970; see ``last_words_logs.write``."""


@dataclass(frozen=True, eq=False)
class _Held:
    news: News
    since: float
    written: Bell


class LogWriter:
    """Takes the fleet's news and returns it again when it may be reported, in the scheduler's thread and without
    waiting.

    Args:
        write: writes lines to a log; by default where Airflow's UI reads them.
        clock: seconds; must not run back.
        now: seconds since 1970.
    """

    def __init__(
        self, write: Write | None = None, *, clock: Clock = time.monotonic, now: Clock = time.time, threads: bool = True
    ) -> None:
        self._write = write or _where_airflow_reads
        self._clock = clock
        self._now = now
        self._out: deque[News | _Held] = deque()
        self._work: SimpleQueue[tuple[News, float, Bell] | None] = SimpleQueue()
        self._threads = threads
        self._thread: Thread | None = None

    def take(self, news: News) -> None:
        """Takes one piece of news; writes what is to be written, and holds back an end until then."""
        if not self._worth_writing(news):
            self._out.append(news)
            return
        written = Bell()
        self._work.put((news, self._now(), written))
        self._start()
        held = news.stage is Stage.ENDED
        self._out.append(_Held(news, self._clock(), written) if held else news)

    def drain(self) -> list[News]:
        """The news that may be reported by now."""
        told: list[News] = []
        waits: deque[News | _Held] = deque()
        for one in self._out:
            if isinstance(one, News):
                told.append(one)
            elif one.written.is_set() or self._clock() - one.since >= MOST_HELD:
                told.append(one.news)
            else:
                waits.append(one)
        self._out = waits
        return told

    def close(self, seconds: float = 2.0) -> None:
        """Writes what is left, for a limited time."""
        self._work.put(None)
        if self._thread is not None:
            self._thread.join(seconds)

    def step(self) -> bool:
        """Writes one waiting text, if any; returns whether there may be more. For the writer's own thread, and for
        tests."""
        try:
            work = self._work.get(block=self._threads)
        except Empty:
            return False
        if work is None:
            return False
        news, when, written = work
        try:
            self._write(news.order.log_path, _lines(news), when)
        except SkyliftError as error:
            log.warning("%s: its log in Airflow's UI cannot be told why it ended: %s", news.order.key, error)
        except Exception:
            # Another provider's remote log; the thread must go on, and the end must be reported.
            log.exception("%s: its log in Airflow's UI cannot be told why it ended", news.order.key)
        finally:
            written.set()
        return True

    def _worth_writing(self, news: News) -> bool:
        wanted = news.record and news.order.kind is WorkloadKind.TASK and news.order.log_path
        return bool(wanted) and self._work.qsize() < MOST_WAITING

    def _start(self) -> None:
        if self._threads and self._thread is None:
            self._thread = Thread(target=self._run, name="skylift-scribe", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self.step():
            pass


def _lines(news: News) -> list[tuple[str, str]]:
    """Level and text; the container's output is quoted, and is not an error of its own."""
    facts, mark, printed = news.reason.partition(f"\n{LAST_LINES}")
    level = "error" if news.event is Event.FAILED else "warning"
    quoted = f"{LAST_LINES}{printed}".splitlines() if mark else []
    return [*((level, line) for line in facts.splitlines()), *(("info", line) for line in quoted)]


def _where_airflow_reads(log_path: str, lines: Sequence[tuple[str, str]], when: float) -> None:
    last_words_logs.write(log_path, lines, when, remote=airflow_compat.remote_task_log(), conf=conf)
