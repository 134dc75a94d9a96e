"""Whose bug an exception is: an emulator's becomes an error for the caller, ours and the machine's stay what they
are."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest

from skylift.core.errors import Broken
from skylift.localcloud.emulators.crashes import CRASHED, caught, is_theirs, note, watching

pytestmark = pytest.mark.unit


def raised(package: str, what: str = "int(text)", **names: Any) -> Exception:
    """What code of a package raises."""
    scope = {"__name__": package, **names}
    exec(compile(f"def work(text):\n    return {what}\n", f"/there/{package}.py", "exec"), scope)
    with pytest.raises(Exception) as error:  # noqa: PT011 - whatever it is
        scope["work"]("svc")
    return error.value


def raising(error: Exception) -> Callable[[], None]:
    def throw() -> None:
        raise error

    return throw


@pytest.mark.parametrize(
    ("package", "what", "theirs"),
    [
        ("ministack.services.sqs", "int(text)", True),
        ("moto.redshift.models", "__import__('json').loads(text)", True),
        ("moto.core.responses", "(lambda: [][1])()", True),
        ("skylift.localcloud.emulators.saver", "int(text)", False),
        ("json.decoder", "int(text)", False),
    ],
)
def test_the_innermost_of_ours_and_theirs_decides(package: str, what: str, theirs: bool) -> None:
    assert is_theirs(raised(package, what)) is theirs


def test_ours_called_by_theirs_is_ours() -> None:
    inner = {"__name__": "skylift.localcloud.emulators.long_polls"}
    exec("def wait(text):\n    return int(text)\n", inner)
    assert not is_theirs(raised("ministack.services.sqs", "wait(text)", wait=inner["wait"]))


@pytest.mark.parametrize(
    ("error", "theirs"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EIO, "Input/output error"), False),
        (OSError(errno.ENAMETOOLONG, "File name too long"), True),
        (MemoryError(), False),
        (KeyError("x"), True),
    ],
)
def test_the_machine_is_nobodys_input(error: Exception, theirs: bool) -> None:
    assert is_theirs(raised("ministack.services.s3", "throw()", throw=raising(error))) is theirs


def test_a_crash_is_noted_and_ours_is_let_out() -> None:
    theirs = raised("ministack.services.sqs")

    async def operation(error: Exception | None, status: int) -> tuple[int, dict[str, str], bytes]:
        if error is not None:
            raise error
        return status, {}, b""

    async def go() -> None:
        seen = watching()
        plain, files = caught(operation, files=False), caught(operation, files=True)
        assert await plain(None, 200) == (200, {}, b"")
        assert await files(None, 500) == (500, {}, b"")
        assert not seen
        assert await plain(theirs, 0) == CRASHED
        assert await plain(None, 500) == CRASHED
        assert seen[0] is theirs
        assert len(seen) == 2
        with pytest.raises(Broken):
            await plain(Broken("ours"), 0)

    asyncio.run(go())


def test_the_log_says_where_once_and_nothing_of_the_input(caplog: pytest.LogCaptureFixture) -> None:
    error = raised("ministack.services.secret", "int(text + 'hunter2')")
    note(error, "sqs", "SendMessage")
    note(error, "sqs", "SendMessage")
    assert [record.message for record in caplog.records] == [
        "ministack stumbled over a SendMessage request to sqs: ValueError at ministack.services.secret.py:2"
    ]
