"""Does in this process what ``python`` would do with given arguments (a module, a code string or a file), including the
exit code.

For forks of a template, where Python was started before the program was known.
"""

from __future__ import annotations

import atexit
import inspect
import io
import os
import runpy
import signal
import sys
import threading
import types
from collections.abc import Sequence
from typing import NoReturn, TextIO


class Next(BaseException):
    """This process continues with other arguments."""

    def __init__(self, argv: Sequence[str]) -> None:
        super().__init__()
        self.argv = tuple(argv)


def understands(argv: Sequence[str]) -> bool:
    """Whether these arguments are supported: ``-m module``, ``-c code`` or a file, without other options of
    ``python``."""
    words = argv[1:]
    if not words:
        return False
    return len(words) > 1 if words[0] in {"-m", "-c"} else not words[0].startswith("-")


def run(argv: Sequence[str]) -> NoReturn:
    """Runs them, then those of each ``Next``; ends the process with the exit code that ``python`` would have."""
    while True:
        try:
            _become(argv)
            _execute(argv)
            _finish(0)
        except Next as following:
            _leave_path()
            argv = following.argv
        except SystemExit as leaving:
            _finish(exit_code(leaving.code))
        except KeyboardInterrupt as error:
            _show(error)
            _finish(-signal.SIGINT)
        # Like Python's own top level: the program's author reads the traceback.
        except BaseException as error:  # noqa: BLE001
            _show(error)
            _finish(1)


def _become(argv: Sequence[str]) -> None:
    sys.orig_argv[:] = argv
    if "setproctitle" in sys.modules:  # comes with Airflow: ps shows the container's command, not the template's
        sys.modules["setproctitle"].setproctitle(" ".join(argv))
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        unbuffered = mode == "w" and bool(os.environ.get("PYTHONUNBUFFERED"))
        new = stream(getattr(sys, f"__{name}__"), descriptor, mode, unbuffered=unbuffered)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    if not sys.flags.safe_path:
        first = {"-m": os.getcwd(), "-c": ""}.get(argv[1])
        sys.path.insert(0, os.path.dirname(os.path.realpath(argv[1])) if first is None else first)


def _leave_path() -> None:
    if not sys.flags.safe_path:
        del sys.path[0]


def stream(old: TextIO, descriptor: int, mode: str, *, unbuffered: bool) -> TextIO:
    """A standard stream for a file or a pipe, as Python creates it at its start."""
    # Lives as long as this process.
    binary = open(descriptor, mode + "b", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        binary,
        encoding=old.encoding,
        errors=old.errors,
        newline="\n" if mode == "w" else None,
        line_buffering=descriptor == 2,
        write_through=unbuffered,
    )


def _execute(argv: Sequence[str]) -> None:
    kind, *words = argv[1:]
    if kind == "-m":
        sys.argv[:] = ["-m", *words[1:]]
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv[:] = ["-c", *words[1:]]
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        # Code that reads the stack (Airflow's AWS hooks do) makes inspect search all 2,300 modules for each of our
        # frames.
        inspect.modulesbyfile["<string>"] = "__main__"
        exec(compile(words[0], "<string>", "exec"), main.__dict__)  # noqa: S102  what ``python -c`` is for
    else:
        sys.argv[:] = [kind, *words]
        if not os.path.exists(kind):
            sys.stderr.write(
                f"{argv[0]}: can't open file {os.path.abspath(kind)!r}: [Errno 2] No such file or directory\n"
            )
            sys.exit(2)
        runpy.run_path(kind, run_name="__main__")


def exit_code(value: object) -> int:
    """The exit code for ``sys.exit(value)``."""
    if value is None or isinstance(value, int):
        return (value or 0) & 0xFF
    print(value, file=sys.stderr)  # noqa: T201
    return 1


def _show(error: BaseException) -> None:
    """Prints the traceback, from the program's first line on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def _finish(code: int) -> NoReturn:
    """Ends like Python, but without clearing all modules: that would copy every page shared with the template."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, ends those of pools: as Python does
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001  as Python: told, and the process ends all the same
        _show(error)
        code = code or 120
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
