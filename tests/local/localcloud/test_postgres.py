"""The real PostgreSQL under our runner: rows survive, strangers have no access, and root needs no open folders."""

from __future__ import annotations

import asyncio
import os
import pwd
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from skylift.core.errors import Refused
from skylift.localcloud.postgres.guard import PostgresGuard
from skylift.localcloud.postgres.server import Postgres, postmaster

pytestmark = pytest.mark.local

KILLS = int(os.environ.get("POSTGRES_KILLS", "8"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A closed folder; not pytest's, which root's PostgreSQL could pass anyway."""
    folder = Path(tempfile.mkdtemp(prefix="skylift-postgres-"))
    yield folder
    Postgres(folder).stop()
    shutil.rmtree(folder)


def connect(server: Postgres, password: str | None = None) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        user=server.superuser,
        password=password or server.password,
        dbname="postgres",
        autocommit=True,
        connect_timeout=5,
    )


def test_rows_survive_a_stop_and_a_kill(home: Path) -> None:
    server = Postgres(home)
    assert not server.is_running()
    server.start()
    port = server.port
    with connect(server) as connection:
        connection.execute("CREATE TABLE rows (number int)")
        connection.execute("INSERT INTO rows VALUES (1)")
    server.stop()
    assert not server.is_running()
    server.stop()  # again: nothing to do
    server.start()
    with connect(server) as connection:
        connection.execute("INSERT INTO rows VALUES (2)")
        running = postmaster.find(server.data)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)  # while a client is connected, right after a commit
    server.start()
    with connect(server) as connection:
        assert connection.execute("SELECT array_agg(number ORDER BY number) FROM rows").fetchone() == ([1, 2],)
    assert server.port == port


def test_a_guard_starts_it_again_whoever_started_it(home: Path) -> None:
    server, notes = Postgres(home), list[str]()
    Postgres(home).start()

    async def play() -> None:
        guarding = asyncio.create_task(PostgresGuard(server, notes.append).run())
        for _ in range(2):
            before = postmaster.find(server.data)
            assert before is not None
            os.kill(before.pid, signal.SIGKILL)
            async with asyncio.timeout(20):
                while not ((now := postmaster.find(server.data)) and now.pid != before.pid and server.is_running()):
                    await asyncio.sleep(0.02)
            with connect(server) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        async with asyncio.timeout(20):
            while "PostgreSQL runs" not in notes:
                await asyncio.sleep(0.02)
        guarding.cancel()
        await asyncio.gather(guarding, return_exceptions=True)

    asyncio.run(play())
    server.stop()
    assert not server.is_running()


def test_killed_again_and_again_while_rows_are_written(home: Path) -> None:
    """Every row that was acknowledged is there; clients come back by themselves."""
    server, dice = Postgres(home), random.Random(os.urandom(4))
    server.start()
    with connect(server) as connection:
        connection.execute("CREATE TABLE rows (number int PRIMARY KEY)")
    acknowledged: list[int] = []
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            try:
                with connect(server) as connection:
                    while not done.is_set():
                        number += 1
                        connection.execute("INSERT INTO rows VALUES (%s)", [number])
                        acknowledged.append(number)
            except psycopg.OperationalError:
                time.sleep(0.02)

    async def play() -> None:
        guarding = asyncio.create_task(PostgresGuard(server, lambda _: None).run())
        for _ in range(KILLS):
            before = len(acknowledged)
            async with asyncio.timeout(30):
                while len(acknowledged) < before + 20:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(dice.uniform(0, 0.1))
            found = postmaster.find(server.data)
            if found is not None:
                os.kill(found.pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        guarding.cancel()
        await asyncio.gather(guarding, return_exceptions=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        asyncio.run(play())
    finally:
        done.set()
        writer.join(30)
    server.start()
    with connect(server) as connection:
        kept = {row[0] for row in connection.execute("SELECT number FROM rows")}
    assert len(acknowledged) >= KILLS * 20
    assert set(acknowledged) <= kept


def test_a_second_runner_adopts_the_running_server(home: Path) -> None:
    Postgres(home).start()
    before = postmaster.find(home / "postgres" / "data")
    other = Postgres(home)
    other.start()
    assert postmaster.find(other.data) == before
    other.stop()
    assert not other.is_running()


def test_only_the_password_opens_it_and_only_on_loopback(home: Path) -> None:
    server = Postgres(home)
    server.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, "wrong")
    running = postmaster.find(server.data)
    assert running is not None
    listening = [
        c for c in psutil.Process(running.pid).net_connections("all") if c.status == psutil.CONN_LISTEN or not c.laddr
    ]
    assert [c.laddr for c in listening if c.family == socket.AF_INET] == [("127.0.0.1", server.port)]
    assert not [c for c in listening if c.family == socket.AF_INET6]
    assert not list(server.data.glob(".s.PGSQL*"))
    for name in ("password", "port", "server.log"):
        assert stat.S_IMODE((server.folder / name).stat().st_mode) == 0o600
    with connect(server) as connection:
        assert connection.execute(
            "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolcanlogin"
        ).fetchone()
        with pytest.raises(psycopg.Error):
            connection.execute("CREATE ROLE postgres PASSWORD 'never-in-the-log'")
    assert "never-in-the-log" not in server.log.read_text()
    assert server.password not in server.log.read_text()


def test_a_taken_port_is_named_with_its_program(home: Path) -> None:
    server = Postgres(home)
    server.start()
    server.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", server.port))
        squatter.listen()
        with pytest.raises(Refused, match=rf"port {server.port} .* is taken by .*\(pid {os.getpid()}\)"):
            server.start()
    server.start()
    assert server.is_running()


def test_a_pid_file_of_a_pid_that_is_another_program_now_does_no_harm(home: Path) -> None:
    server = Postgres(home)
    server.start()
    running = postmaster.find(server.data)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(running.pid)] if psutil.pid_exists(running.pid) else [], timeout=5)
    file = server.data / "postmaster.pid"
    file.write_text(file.read_text().replace(str(running.pid), str(os.getpid()), 1))
    assert not server.is_running()
    server.start()
    assert server.is_running()


def test_two_starts_at_once_make_one_server(home: Path) -> None:
    code = "import sys; from pathlib import Path; from skylift.localcloud.postgres.server import Postgres; "
    code += "p = Postgres(Path(sys.argv[1])); p.start(); print(p.port, p.password)"
    both = [subprocess.Popen([sys.executable, "-c", code, home], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1
    server = Postgres(home)
    assert server.is_running()  # it outlives those who started it
    with connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_wheels_programs_work_with_it(home: Path) -> None:
    server = Postgres(home)
    server.start()
    environ = {"PGPASSWORD": server.password, "PATH": os.environ["PATH"]}
    address = ["-h", "127.0.0.1", "-p", str(server.port), "-U", server.superuser]
    asked = [server.binary("psql"), *address, "-Atc", "SELECT datcollate, datctype, pg_encoding_to_char(encoding)"]
    asked[-1] += " FROM pg_database WHERE datname = 'postgres'"
    assert subprocess.run(asked, env=environ, capture_output=True, text=True, check=True).stdout == "C|C|UTF8\n"
    subprocess.run([server.binary("pg_dump"), *address, "postgres"], env=environ, capture_output=True, check=True)
    with pytest.raises(Refused, match="nosuch is not installed"):
        server.binary("nosuch")


def test_data_of_another_major_version_are_refused(home: Path) -> None:
    server = Postgres(home)
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(Refused, match="made by PostgreSQL 16"):
        server.start()
    (server.data / "PG_VERSION").write_text("18\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="shows what root does")
def test_root_runs_it_as_an_unprivileged_user_below_closed_folders(home: Path) -> None:
    """As under /root: the binaries and the data below folders of mode 0700, which stay so."""
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    home.chmod(0o700)
    package = Postgres(home).binary("postgres").parents[2]
    shutil.copytree(package, closed / package.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs", symlinks=True)
    code = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
    code += "from skylift.localcloud.postgres.server import Postgres; p = Postgres(Path(sys.argv[2])); "
    code += "p.start(); print(p.binary('postgres'))"
    done = subprocess.run(
        [sys.executable, "-c", code, closed, home], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith(str(closed))
    server = Postgres(home)
    with connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.execute("CREATE DATABASE another")
    running = postmaster.find(server.data)
    assert running is not None
    status = Path(f"/proc/{running.pid}/status").read_text()
    assert "Uid:\t0\t" not in status
    assert "CapEff:\t0000000000000002" in status  # CAP_DAC_OVERRIDE, nothing else
    assert "CapPrm:\t0000000000000002" in status
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home, closed, server.folder)] == [0o700] * 3
    assert closed.stat().st_uid == server.folder.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to become an ordinary user")
def test_an_ordinary_user_runs_it_too(home: Path) -> None:
    user = pwd.getpwnam("nobody")
    os.chown(home, user.pw_uid, user.pw_gid)
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--inh-caps=-all"]
    if subprocess.run(
        [*become, sys.executable, "-c", "import skylift.localcloud"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this checkout is closed to other users")
    code = "import sys; from pathlib import Path; from skylift.localcloud.postgres.server import Postgres; "
    code += "p = Postgres(Path(sys.argv[1])); p.start(); p.stop(); p.start(); print(p.is_running())"
    done = subprocess.run(
        [*become, sys.executable, "-c", code, home], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    server = Postgres(home)
    running = postmaster.find(server.data)
    assert running is not None
    assert psutil.Process(running.pid).uids().real == user.pw_uid
    with connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to give up capabilities")
def test_a_root_without_capabilities_is_told_what_to_do(home: Path) -> None:
    code = "import sys; from pathlib import Path; from skylift.localcloud.postgres.server import Postgres; "
    code += "Postgres(Path(sys.argv[1])).start()"
    weaken = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-setpcap"]
    command = [*weaken, sys.executable, "-c", code, home]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "skylift.core.errors.Refused: PostgreSQL's data folder cannot be made" in done.stderr
    assert "CAP_DAC_OVERRIDE. Run skylift as an ordinary user" in done.stderr
    Postgres(home).start()  # with the capabilities it goes on from what is there


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root to mount a small disk")
def test_a_full_disk_is_said_plainly(home: Path) -> None:
    disk = home / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "skylift", disk], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        with pytest.raises(Refused, match="the disk is full"):
            Postgres(disk).start()
        assert not Postgres(disk).data.exists()
    finally:
        subprocess.run(["umount", disk], check=True)
