"""How a container handles a stop: Airflow's own stops as usual; one from outside fails the Airflow task, with a reason.

Airflow's task process handles SIGTERM by calling the operator's ``on_kill`` and goes on (3.1 to 3.3,
``task_runner._on_term``). So a task whose ``execute`` returns then is a success, and one that sleeps does not
notice. That is right if Airflow itself sent the signal, because it already has the task instance's state. But nobody in
Airflow asked for a stop of the container (StopTask, Spot, a host that goes away): the work was cut short, and
``retries`` must apply. Only the supervisor gets the signal. A byte that both processes share tells the Airflow task's
process before the signal is passed on.

The source text goes into the container: see ``main.py``; the same rules apply.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal

ENDED_BADLY, STOPPED_OUTSIDE, DIED = 70, 78, 1
STOPS = (signal.SIGTERM, signal.SIGINT)
CUT_SHORT: list[mmap.mmap] = []
WATCHED: list[object] = []
WHY = (
    "The container was told to stop (SIGTERM), and not by Airflow: StopTask, Spot capacity taken back, a scale-in or "
    "a host that went. The executor's line in the event log says which, where AWS tells."
)


class Stopped(BaseException):
    """Ends an Airflow task whose container is stopped. Not an ``Exception``, so that an author's code does not go
    on."""


def prepare_for_stops() -> None:
    """For the supervisor's process, before it starts the Airflow task's."""
    from airflow.sdk.execution_time import task_runner  # lazy: a failure to import must give NEVER_BEGAN
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess  # lazy: as above

    CUT_SHORT[:] = [mmap.mmap(-1, 1)]
    mine = os.getpid()

    def apart() -> None:
        # As 3.3 does: a signal to the supervisor's process group (dumb-init) must not reach the Airflow task.
        if os.getppid() == mine:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)

    os.register_at_fork(after_in_child=apart)
    task_runner._execute_task = cut_short(task_runner._execute_task)  # type: ignore[no-untyped-call]
    ActivitySubprocess._monitor_subprocess = passing_on(  # type: ignore[no-untyped-call]
        ActivitySubprocess._monitor_subprocess
    )


def passing_on(monitor):  # type: ignore[no-untyped-def]  # annotations do not go into the container
    """The supervisor's loop, which passes a stop to the Airflow task and says that it came from outside."""

    def watch(process):  # type: ignore[no-untyped-def]  # as above
        def stop(number, _):  # type: ignore[no-untyped-def]  # as above
            CUT_SHORT[0][0] = 1
            # Not through sys.stderr, which this may interrupt.
            os.write(2, f"{signal.Signals(number).name}: the Airflow task is told to stop\n".encode())
            if process._exit_code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

        WATCHED[:] = [process]
        before = [(number, signal.signal(number, stop)) for number in STOPS]
        try:
            return monitor(process)
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    return watch


def cut_short(execute):  # type: ignore[no-untyped-def]  # as above
    """Wraps the operator's ``execute``: it does not succeed if the container was told to stop meanwhile."""

    def guarded(*args, **kwargs):  # type: ignore[no-untyped-def]  # as above
        airflows, mine = signal.getsignal(signal.SIGTERM), os.getpid()

        def stop(number, frame):  # type: ignore[no-untyped-def]  # as above
            try:
                airflows(number, frame)  # type: ignore[operator,misc]  # Airflow's handler: on_kill
            finally:
                if CUT_SHORT[0][0] and os.getpid() == mine:
                    raise Stopped(WHY)

        signal.signal(signal.SIGTERM, stop)
        try:
            result = execute(*args, **kwargs)
            if CUT_SHORT[0][0]:
                raise Stopped(WHY)
            return result
        finally:
            signal.signal(signal.SIGTERM, airflows)

    return guarded


def outcome(code: int) -> int:
    """The container's exit code for that of the Airflow task's process, depending on what Airflow was told.

    A process that was killed, or that ended with its own error, has told nothing if Airflow would retry (3.1 to
    3.3, ``ActivitySubprocess.update_task_state_if_needed``). Its code is passed through, so that the executor reports
    it.
    """
    state = getattr(WATCHED[0], "_terminal_state", None) if WATCHED else None
    if state == "SERVER_TERMINATED":
        return ENDED_BADLY
    if code == 0:
        badly = CUT_SHORT and CUT_SHORT[0][0] and state in ("failed", "up_for_retry")
        return STOPPED_OUTSIDE if badly else 0
    return 128 - code if code < 0 else code if code < ENDED_BADLY else DIED
