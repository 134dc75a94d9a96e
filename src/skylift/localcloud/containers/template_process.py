"""A template: a process that prepares once what many containers need, and becomes containers by forking.

Runs in an image: ``python -m skylift.localcloud.containers.template_process MODULE``. ``MODULE`` has three functions:
``prepare()`` imports what is worth it, returns what it had to leave out, and may raise if there can be no template;
``fits(arguments)`` says whether a fork can act as ``python`` would with these arguments; ``act(arguments)`` does so,
and never returns.

Standard input is the socket to the server, its only file. One byte with two descriptors asks for a container (the words
that a shim gets, preceded by the folder, and the pipe for the shim's report). When the socket closes, the template
ends. So no template outlives its server, however that ends. Containers outlive both, because each has its own shim.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys

from skylift.localcloud.containers import immortal, shim

READY = b"ready"
"""What a template reports; after it, what it had to leave out."""
_STANDARD = {"0", "1", "2"}
_MOST_DESCRIPTORS = 1 << 20
_MADV_COLLAPSE = 25


class CannotFork(Exception):
    """This process has something that a fork would break: threads, or open files."""


def main(module: str) -> None:
    """Prepares, reports that on standard output, and forks until the server is gone. Only a container continues after
    ``_serve``."""
    if not sys.flags.safe_path:
        del sys.path[0]  # ``python -m`` put the working folder there; a container has its own
    program = importlib.import_module(module)
    gc.disable()
    omitted = [program.prepare()]
    gc.collect()
    omitted.append(_immortal())
    gc.freeze()  # otherwise the first collection in a fork would write to every page, and so copy it
    _use_huge_pages()
    _check()
    os.write(1, READY + b" " + ", ".join(filter(None, omitted)).encode() + b"\n")
    os.dup2(2, 1)
    words, teller = _serve(socket.socket(fileno=0))
    executable, count, *rest = words
    arguments, environment = rest[: int(count)], rest[int(count) :]
    if not program.fits([os.fsdecode(word) for word in arguments]):
        shim.become(executable, arguments, environment, teller)
    os.closerange(3, _MOST_DESCRIPTORS)
    _take_environment(environment)
    _signals_of_python()
    gc.enable()
    program.act([os.fsdecode(word) for word in arguments])


def _immortal() -> str:
    """Makes all that exists immortal; otherwise returns why not."""
    gc.unfreeze()  # what was frozen is hidden
    try:
        immortal.make_immortal()
    except immortal.CannotBeImmortal as error:
        return f"its objects are not immortal: {error}"
    return ""


def _check() -> None:
    """Raises CannotFork."""
    threads = os.listdir("/proc/self/task")
    files = set(os.listdir("/proc/self/fd")) - _STANDARD
    names = [os.readlink(f"/proc/self/fd/{name}") for name in files if os.path.lexists(f"/proc/self/fd/{name}")]
    if len(threads) > 1 or names:  # the list of open files was itself open while it was made
        raise CannotFork(f"{len(threads)} threads, open files: {names}")


def _use_huge_pages() -> None:
    """Collapses memory into huge pages if the kernel can (Linux 6.1); copy-on-write still copies 4 KiB.

    A fork copies one entry of the page table for each page, and an exit removes them: for 200 MB in small pages this
    takes 13 ms of CPU, twice in each container. It must happen before the first fork; later it would be private memory.
    """
    try:
        with open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") as file:
            size = int(file.read())
        with open("/proc/self/maps") as file:
            areas = [line.split() for line in file]
    except (OSError, ValueError):
        return
    madvise = ctypes.CDLL(None).madvise
    for span, rights, _, _, inode, *_ in areas:
        if rights == "rw-p" and inode == "0":
            begin, end = (int(word, 16) for word in span.split("-"))
            begin, end = -(-begin // size) * size, end // size * size
            if begin < end:
                madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_COLLAPSE)


def _serve(control: socket.socket) -> tuple[list[bytes], int]:
    """Forks a shim for each request. Returns in the containers' processes: what to run, and the pipe for errors."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([control.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _reap()
        if control.fileno() not in ready:
            continue
        message, descriptors, *_ = socket.recv_fds(control, 1, 2)
        if not message:
            os._exit(0)
        try:
            pid = os.fork()
        except (
            OSError
        ) as error:  # too many processes, no memory: the server sees that nobody answers, and starts plainly
            print(f"no fork: {error}", file=sys.stderr, flush=True)  # noqa: T201
            pid = -1
        if pid == 0:
            control.detach()  # from here on its number is the container's standard input
            return _as_shim(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _as_shim(spec: int, report: int) -> tuple[list[bytes], int]:
    """The shim's side of the fork: forgets the template, then acts like every shim."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(spec, 0)
        os.dup2(report, 1)
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)
        os.closerange(3, _MOST_DESCRIPTORS)
        folder, executable, cwd, limits, mounts, *words = shim.read_everything(0).split(b"\0")
        return [executable, *words], shim.attend(folder, cwd, limits, mounts)
    # Whatever happens, no second template may go on from here; the server makes a plain start
    except BaseException:  # noqa: BLE001
        os._exit(1)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _take_environment(pairs: list[bytes]) -> None:
    """Sets exactly these variables, for Python and for C."""
    os.environb.clear()
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        os.environb[name] = value


def _signals_of_python() -> None:
    """Sets signals as Python does at its start; the shim has set all to the system's defaults."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main(sys.argv[1])
