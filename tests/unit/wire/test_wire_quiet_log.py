"""A log that callers cannot fill."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from skylift.wire.quiet_log import MOST, NAMES, Seldom, keep_quiet

pytestmark = pytest.mark.unit


def test_the_same_message_is_written_a_few_times_a_minute() -> None:
    def passed(seldom: Seldom, text: str, *args: Any, error: BaseException | None = None) -> bool:
        info = (type(error), error, error.__traceback__) if error else None
        record = logging.LogRecord("n", logging.ERROR, "p", 1, text, args, info)
        return bool(seldom.filter(record))

    seldom = Seldom()
    assert [passed(seldom, "m %s", n) for n in range(MOST + 3)] == [True] * MOST + [False] * 3
    assert passed(seldom, "another %s", 1), "each kind by itself"
    assert passed(seldom, "m %s", 1, error=ValueError()), "and by the exception that it tells"
    for number in range(1002):
        passed(seldom, f"kind {number}")
    assert passed(seldom, "m %s", 1), "so many kinds are not remembered"


def test_the_loggers_to_which_callers_make_us_write_are_quiet_once() -> None:
    keep_quiet()
    keep_quiet()
    for name in NAMES:
        assert len([one for one in logging.getLogger(name).filters if isinstance(one, Seldom)]) == 1
