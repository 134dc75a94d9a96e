"""What the container's program concludes, function by function: from an API that does not start the Airflow task, from
a stop, from the code of Airflow's process. ``tests/local`` runs the whole program."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from skylift.core.attempt import Exit
from skylift.executors.in_container import api, main, stop

pytestmark = pytest.mark.unit
URL = "http://airflow:8080/execution/task-instances/1/run"
ASKED = httpx.Request("PATCH", URL)


def answer(status: int, text: str = "", url: str = URL, **headers: str) -> httpx.Response:
    return httpx.Response(status, text=text, headers=headers, request=httpx.Request("PATCH", url))


class Answered(Exception):
    """As Airflow's SDK raises it (``ServerResponseError``)."""

    def __init__(self, response: httpx.Response, detail: Any = None) -> None:
        super().__init__("Server returned error")
        self.response, self.detail = response, detail


ANSWERS = [
    (answer(401), None, Exit.NO_ACCESS),
    (answer(403), {"reason": "x"}, Exit.NO_ACCESS),
    (answer(404), {"reason": "not_found"}, Exit.NOT_OURS),
    (answer(409), {"reason": "invalid_state"}, Exit.NOT_OURS),
    (answer(410), {"reason": "gone"}, Exit.NOT_OURS),
    (answer(409), "somebody else's words", Exit.NEVER_BEGAN),
    (answer(404), "Not Found", Exit.NO_EXECUTION_API),
    (answer(405), None, Exit.NO_EXECUTION_API),
    (answer(200, "<html>"), None, Exit.NO_EXECUTION_API),
    (answer(302, location="/login"), None, Exit.NO_EXECUTION_API),
    (answer(422), {"reason": "x"}, Exit.NEVER_BEGAN),
    (answer(500), None, Exit.UNREACHABLE),
    (answer(503, "no server behind this proxy, not even by https"), None, Exit.UNREACHABLE),
    (answer(400, "The plain HTTP request was sent to HTTPS port"), None, Exit.IS_TLS),
    (answer(400, "bad"), None, Exit.NEVER_BEGAN),
    (answer(308, location="https://airflow/execution/"), None, Exit.IS_TLS),
    (answer(307, url="https://airflow/x", location="https://airflow/y"), None, Exit.NO_EXECUTION_API),
    (answer(403, location="https://airflow/"), None, Exit.NO_ACCESS),
]


@pytest.mark.parametrize(("response", "detail", "code"), ANSWERS, ids=lambda one: str(getattr(one, "status_code", "")))
def test_what_an_answer_means(
    response: httpx.Response, detail: Any, code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert api.api_fault(Answered(response, detail)) == code
    told = capsys.readouterr().err
    line = (
        f"Airflow's API does not start this Airflow task: PATCH {response.request.url}: it answered "
        f"{response.status_code} {response.reason_phrase}\n"
    )
    assert told == ("" if code in (Exit.NOT_OURS, Exit.NEVER_BEGAN) else line)


def failed(words: str, kind: type[httpx.RequestError] = httpx.ConnectError) -> httpx.RequestError:
    error = kind("no", request=ASKED)
    error.__cause__ = ssl.SSLError(words)
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (failed("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), Exit.NOT_TRUSTED),
        (failed("[SSL: WRONG_VERSION_NUMBER] wrong version number"), Exit.NOT_TLS),
        (failed("[SSL] record layer failure"), Exit.NOT_TLS),
        (failed("[SSL: RECORD_LAYER_FAILURE]"), Exit.NOT_TLS),
        (failed("[SSL: PACKET_LENGTH_TOO_LONG] packet length too long"), Exit.NOT_TLS),
        (failed("connection refused"), Exit.UNREACHABLE),
        (failed("timed out", httpx.ReadTimeout), Exit.UNREACHABLE),
    ],
)
def test_what_no_answer_means(error: httpx.RequestError, code: Exit, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.api_fault(error) == code
    assert f": PATCH {URL}: {type(error).__name__}: no\n" in capsys.readouterr().err


def test_an_error_that_is_not_the_apis_is_not_told_as_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert api.api_fault(RuntimeError("ours")) == Exit.NEVER_BEGAN
    assert capsys.readouterr().err == ""
    assert api.api_fault(type("ValidationError", (ValueError,), {})("no")) == Exit.NO_EXECUTION_API
    assert api.api_fault(type("JSONDecodeError", (ValueError,), {})("no")) == Exit.NO_EXECUTION_API
    assert "[core] execution_api_server_url: what it answered is not Airflow's\n" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [httpx.RemoteProtocolError, httpx.ReadError])
def test_a_server_that_hangs_up_is_asked_whether_it_wants_tls(kind: type[httpx.RequestError]) -> None:
    """A TLS server closes the connection of one who does not begin with a handshake; so does one that is gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = kind("gone", request=httpx.Request("PATCH", f"http://127.0.0.1:{port}/x"))
        assert api.unanswered(error) == Exit.UNREACHABLE
        thread.join(10)
        assert not thread.is_alive(), "it was asked"
    assert api.unanswered(kind("gone", request=httpx.Request("PATCH", f"https://127.0.0.1:{port}/x"))) == (
        Exit.UNREACHABLE
    )


# Stops.


@pytest.fixture
def told() -> Iterator[mmap.mmap]:
    """The byte that the supervisor and the Airflow task's process share."""
    shared = mmap.mmap(-1, 1)
    before = signal.getsignal(signal.SIGTERM)
    stop.CUT_SHORT[:] = [shared]
    yield shared
    stop.CUT_SHORT.clear()
    stop.WATCHED.clear()
    assert signal.getsignal(signal.SIGTERM) is before, "Airflow's own handler is put back"


@pytest.mark.parametrize(
    ("code", "cut_short", "state", "expected"),
    [
        (0, False, "success", 0),
        (0, True, "success", 0),
        (0, True, "failed", Exit.STOPPED_OUTSIDE),
        (0, True, "up_for_retry", Exit.STOPPED_OUTSIDE),
        (0, False, "failed", 0),
        (1, False, None, 1),
        (69, False, None, 69),
        (70, False, None, 1),
        (100, False, None, 1),
        (-9, False, None, 137),
        (-15, True, None, 143),
        (-9, False, "SERVER_TERMINATED", Exit.ENDED_BADLY),
        (0, False, "SERVER_TERMINATED", Exit.ENDED_BADLY),
    ],
)
def test_the_containers_code(told: mmap.mmap, code: int, cut_short: bool, state: str | None, expected: int) -> None:
    told[0] = cut_short
    stop.WATCHED[:] = [type("Process", (), {"_terminal_state": state})()]
    assert stop.outcome(code) == expected


def test_without_a_process_of_airflow_the_code_is_passed_on() -> None:
    assert (stop.outcome(0), stop.outcome(3), stop.outcome(-6)) == (0, 3, 134)


def test_work_that_a_stop_cut_short_does_not_succeed(told: mmap.mmap) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    own = signal.getsignal(signal.SIGTERM)
    try:
        assert stop.cut_short(lambda *args, **kwargs: (args, kwargs))(1, a=2) == ((1,), {"a": 2})

        def is_killed() -> str:
            os.kill(os.getpid(), signal.SIGTERM)
            return "went on"

        assert stop.cut_short(is_killed)() == "went on", "Airflow's own stop: its handler decides"
        assert heard == [signal.SIGTERM]
        told[0] = 1
        with pytest.raises(stop.Stopped, match="told to stop"):
            stop.cut_short(is_killed)()
        assert heard == [signal.SIGTERM] * 2, "on_kill comes first"
        with pytest.raises(stop.Stopped, match="not by Airflow"):
            stop.cut_short(lambda: "returned")()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


class Process:
    """Airflow's supervisor of one process, as far as ``passing_on`` looks at it."""

    def __init__(self, exit_code: int | None, pid: int) -> None:
        self._exit_code, self.pid = exit_code, pid


@pytest.mark.parametrize("number", stop.STOPS)
@pytest.mark.parametrize("exit_code", [None, 0])
def test_a_stop_is_passed_to_the_airflow_task_and_said(
    told: mmap.mmap, number: signal.Signals, exit_code: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not to one that has ended: its number may be another process's by then."""
    passed: list[int] = []
    before = [signal.signal(one, lambda given, _: passed.append(given)) for one in stop.STOPS]
    child = subprocess.Popen(["sleep", "60"])

    def monitor(process: Process) -> str:
        assert [process] == stop.WATCHED
        signal.getsignal(number)(number, None)  # type: ignore[operator,misc]
        return "watched"

    try:
        assert stop.passing_on(monitor)(Process(exit_code, child.pid)) == "watched"
        assert (told[0], passed) == (1, [])
        assert f"{number.name}: the Airflow task is told to stop\n" in capfd.readouterr().err
        if exit_code is None:
            assert child.wait(30) == -signal.SIGTERM
            stop.passing_on(monitor)(Process(None, child.pid))  # gone meanwhile: no error
        assert child.poll() == (None if exit_code == 0 else -signal.SIGTERM)
        os.kill(os.getpid(), number)
        assert passed == [number], "afterwards the handlers are those of before"
    finally:
        child.kill()
        child.wait(30)
        for one, handler in zip(stop.STOPS, before, strict=True):
            signal.signal(one, handler)


def test_what_the_supervisor_raises_before_it_waits_is_the_apis() -> None:
    def wait(error: Exception) -> None:
        raise error

    def raised(error: Exception, waiting: bool) -> Exception:
        try:
            if waiting:
                wait(error)
            raise error
        except Exception as caught:  # noqa: BLE001  the one above, with its traceback
            return caught

    assert main.ending(raised(Answered(answer(409), {"reason": "x"}), waiting=False)) == Exit.NOT_OURS
    assert main.ending(raised(Answered(answer(409), {"reason": "x"}), waiting=True)) == Exit.ENDED_BADLY
    assert main.ending(raised(Answered(answer(500)), waiting=True)) == stop.DIED
    assert main.ending(raised(RuntimeError("x"), waiting=True)) == stop.DIED
