"""Makes its standard streams its controlling terminal, in a session of its own, and becomes another program.

Run as ``python -I -S login.py PROGRAM ARGUMENT...``: what a shell needs for job control, and what cannot be done
between fork and exec in a process with threads.
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
    # A server that was started in the background of a script has these ignored, and a shell could never get them back.
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
