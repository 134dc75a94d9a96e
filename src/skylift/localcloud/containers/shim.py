"""The small process beside every container: it starts the container, waits, and records how it ended.

It outlives the server, so an exit code is never lost. Run as ``python -I -S shim.py FOLDER``. It imports as little as
it can, because there is one per container. Everything it needs comes on standard input (an anonymous file, never on
disk): executable, working folder, ulimits, mounts, number of arguments, arguments, environment, all separated by NUL.

Files in FOLDER: ``log`` (standard output and error), ``pid`` (``shim-pid start pid start``; made by link, so that a
second shim in the same folder gives up), ``exit`` (``code time`` or ``failed errno time``; made by rename).
One line on standard output tells the server that the program runs, or why not.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module ``signal`` costs five times as much to import
import ctypes
import os
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_EXIT_BYTES = 80
MOUNTING = 1000
_LEFT_ALONE = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)


def main(folder: str) -> None:
    """Runs one container from its start to its end."""
    executable, cwd, limits, mounts, count, *words = read_everything(0).split(b"\0")
    arguments, environment = words[: int(count)], words[int(count) :]
    teller = attend(os.fsencode(folder), cwd, limits, mounts)
    become(executable, arguments, environment, teller)


def attend(folder: bytes, cwd: bytes, limits: bytes, mounts: bytes) -> int:
    """Forks the container's process and looks after it until its end, then exits.

    Returns only in the container's process, when everything is ready for the program: its own session, standard
    streams, mounts, working folder and signals. The result is a pipe on which to report why the program cannot be
    started: an errno as text, ``MOUNTING`` more if a mount failed. When all its ends are closed, by exec or by hand,
    the program counts as started.
    """
    os.chdir(folder)
    _become_init()
    for number in _LEFT_ALONE:
        _signal.signal(number, _signal.SIG_IGN)
    gate, opener = os.pipe()
    trouble, teller = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        _enter(cwd, limits, mounts, gate, teller)
        return teller
    os.close(teller)
    os.close(gate)
    if not _publish(f"{os.getpid()} {start_time(os.getpid())} {pid} {start_time(pid)}"):
        os.close(opener)
        os.waitpid(pid, 0)
        os._exit(0)
    os.write(opener, b"go")
    os.close(opener)
    problem = read_everything(trouble).decode()
    _report(f"failed {problem}" if problem else f"started {pid} {start_time(pid)}")
    code = _wait(pid)
    _sweep(pid)
    _write_exit(f"failed {problem} {time.time()}" if problem else f"{code} {time.time()}")
    os._exit(0)


def become(executable: bytes, arguments: list[bytes], environment: list[bytes], teller: int) -> None:
    """Replaces this process with the program. Never returns."""
    try:
        os.execve(executable, arguments, dict(pair.split(b"=", 1) for pair in environment))  # noqa: S606
    except OSError as error:
        os.write(teller, str(error.errno).encode())
    finally:
        os._exit(127)


def start_time(pid: int) -> str:
    """When a process began, in the kernel's ticks since boot; ``0`` if unknown. Together with the pid it identifies
    one process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b")", 1)[1].split()[19].decode()
    except OSError:
        return "0"


def read_everything(descriptor: int) -> bytes:
    """Everything until the end of a file, or until the other side closes a pipe."""
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _become_init() -> None:
    """We become the parent of the container's orphans, like PID 1 in a real container. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _enter(cwd: bytes, limits: bytes, mounts: bytes, gate: int, teller: int) -> None:
    """The child's side: waits until ``pid`` is written, then prepares itself."""
    stage = 0
    try:
        if os.read(gate, 2) != b"go":
            os._exit(0)
        os.setsid()
        os.umask(0o022)
        log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if mounts:
            stage = MOUNTING
            _furnish(mounts, cwd)
            stage = 0
        os.chdir(cwd)
        for number in (*_LEFT_ALONE, _signal.SIGPIPE, _signal.SIGXFSZ):
            _signal.signal(number, _signal.SIG_DFL)
        if limits:
            _limit(limits)
    except OSError as error:
        os.write(teller, str(stage + (error.errno or 0)).encode())
        os._exit(127)


def _furnish(word: bytes, cwd: bytes) -> None:
    """Gives the process a file system with its mounts (``mounts.shim_word``) and its working folder in it."""
    # This file is also run by its path; then no package can be imported.
    from importlib.util import module_from_spec, spec_from_file_location  # lazy: few containers have mounts

    found = spec_from_file_location("mount_namespace", os.path.join(os.path.dirname(__file__), "mount_namespace.py"))
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    lines = [line.split("\t") for line in os.fsdecode(word).split("\n")]
    mounts = [(line[1], line[2], line[0] == "ro") for line in lines if len(line) == 3]
    spare = f"{os.getcwd()}/root"
    os.makedirs(spare, exist_ok=True)
    module.enter(mounts, len(mounts) < len(lines), spare)
    if not os.path.isdir(cwd):
        os.makedirs(cwd)


def _limit(words: bytes) -> None:
    """Sets ulimits (``ulimits.shim_word``); if only root may set one, sets as much as we may."""
    import resource  # lazy: few containers have ulimits

    for word in words.split():
        kind, soft, hard = map(int, word.split(b":"))
        try:
            resource.setrlimit(kind, (soft, hard))
        except (OSError, ValueError):
            most = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (most if soft == -1 else min(soft, most), most if hard == -1 else min(hard, most)))


def _publish(text: str) -> bool:
    """Writes ``pid``, and reserves the space for ``exit``; false if another shim was faster."""
    mine = f"pid.{os.getpid()}"
    with open(f"exit.{os.getpid()}", "w") as room:
        room.write(" " * _EXIT_BYTES)
    with open(mine, "w") as file:
        file.write(text)
    try:
        os.link(mine, "pid")
    except FileExistsError:
        os.unlink(f"exit.{os.getpid()}")
        return False
    finally:
        os.unlink(mine)
    return True


def _report(text: str) -> None:
    """Tells the server; if it has died meanwhile, the next one reads ``pid``."""
    try:  # noqa: SIM105 - contextlib is one more import in every container's shim
        os.write(1, text.encode() + b"\n")
    except OSError:
        pass
    os.close(1)


def _wait(pid: int) -> int:
    """Waits for the program, and for orphans that end before it. Returns its exit code; 128 + n after signal n."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _sweep(pid: int) -> None:
    """When a container's first process ends, kills all others."""
    for _ in range(1000):
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        for child in _children() or [-pid]:
            try:
                os.kill(child, _signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.001)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _write_exit(text: str) -> None:
    """Writes into the space reserved at the beginning, because the disk may be full by now."""
    mine = f"exit.{os.getpid()}"
    with open(mine, "r+") as file:
        file.write(text.ljust(_EXIT_BYTES))
        file.flush()
        os.fsync(file.fileno())
    os.rename(mine, "exit")


if __name__ == "__main__":
    main(sys.argv[1])
