"""Makes its standard streams the controlling terminal of its own new session, and becomes another program.

Run as ``python -I -S login.py PROGRAM ARGUMENT...``. A shell needs this for job control, and a process with threads
cannot do it between fork and exec.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios


def main(words: list[str]) -> None:
    """Never returns."""
    os.setsid()
    # A server that a script started in the background has these ignored, and a shell could never change that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    try:
        os.execve(words[0], words, environment)  # noqa: S606
    except OSError as error:
        os.write(2, f"exec: {words[0]}: {error.strerror}\r\n".encode())
        os._exit(126)


if __name__ == "__main__":
    main(sys.argv[1:])
