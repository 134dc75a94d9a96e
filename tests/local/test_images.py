"""Images built by the real uv: the shipped one runs Airflow; small ones show locks, kills, clearing up and errors."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from skylift.core.errors import Refused, Unavailable
from skylift.localcloud.images.built import Image, Images

pytestmark = pytest.mark.local
SMALL = """
six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274 \\
    --hash=sha256:ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81
"""
BUILD = """
import os, sys
from pathlib import Path
from skylift.localcloud.images.built import Images
home, cache, locks = map(Path, sys.argv[1:])
print(Images(home, cache, locks=locks).build("skylift/small:1", lambda line: print(line, flush=True)).root)
"""


@pytest.fixture(scope="module")
def cache() -> Path:
    """The user's own cache of uv: the tests need not download what was downloaded before."""
    return Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Image]:
    home = tmp_path_factory.mktemp("images")
    lines: list[str] = []
    built = Images(home, home / "cache", environ={**os.environ, "UV_CACHE_DIR": str(cache)}).build(
        "skylift/airflow:3.3.2", lines.append
    )
    assert "compiling bytecode" in lines
    yield built
    shutil.rmtree(home)


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "small-1.txt").write_text(SMALL)
    return folder


def small(tmp_path: Path, cache: Path, locks: Path, environ: Mapping[str, str] | None = None) -> Images:
    environ = {**os.environ, "UV_CACHE_DIR": str(cache)} if environ is None else environ
    return Images(tmp_path / "home", tmp_path / "cache", environ=environ, locks=locks)


def run_in(image: Image, home: Path, *command: str) -> str:
    program = image.executable(command[0])
    assert program is not None
    environ = {**image.environment, "HOME": str(home), "AIRFLOW_HOME": str(home), "LANG": "C.UTF-8"}
    done = subprocess.run([program, *command[1:]], env=environ, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_shipped_image_runs_airflow(image: Image, tmp_path: Path) -> None:
    assert run_in(image, tmp_path, "airflow", "version").strip().endswith("3.3.2")
    run_in(image, tmp_path, "airflow", "db", "migrate")
    assert (tmp_path / "airflow.db").stat().st_size > 100_000
    code = "import importlib.metadata as m, sys, skylift, airflow, psycopg2, asyncpg, boto3, skylift.core.containers; "
    code += "import airflow.providers.amazon.aws.executors.ecs.ecs_executor; "
    code += "print(m.version('apache-airflow'), m.version('skylift'), sys.prefix, skylift.__file__)"
    airflow, version, prefix, file = run_in(image, tmp_path, "python", "-c", code).split()
    assert (airflow, prefix) == ("3.3.2", str(image.root))
    assert version
    assert Path(file).is_relative_to(image.root)
    run_in(image, tmp_path, "python", "-c", "import skylift.runtime")
    assert run_in(image, tmp_path, "uv", "--version").startswith("uv ")


def test_every_module_of_the_shipped_image_has_bytecode(image: Image) -> None:
    site = next((image.root / "lib").glob("python3.*/site-packages"))
    sources = sum(1 for _ in site.rglob("*.py"))
    compiled = sum(1 for _ in site.rglob("*.pyc"))
    assert sources > 4000
    assert compiled > 0.99 * sources  # a few files of a package's tests are wrong on purpose


def test_a_second_build_changes_nothing_and_find_agrees(tmp_path: Path, cache: Path, locks: Path) -> None:
    images = small(tmp_path, cache, locks)
    assert images.find("skylift/small:1") is None
    built = images.build("skylift/small:1", print)
    before = (built.root / "pyvenv.cfg").stat()
    lines: list[str] = []
    assert images.build("skylift/small:1", lines.append) == built == images.find("skylift/small:1")
    assert (built.root / "pyvenv.cfg").stat() == before
    assert not lines


def test_two_processes_build_one_image(tmp_path: Path, cache: Path, locks: Path) -> None:
    command = [sys.executable, "-c", BUILD, tmp_path / "home", tmp_path / "cache", locks]
    environ = {**os.environ, "UV_CACHE_DIR": str(cache)}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) for _ in range(2)]
    roots = {process.communicate(timeout=120)[0].splitlines()[-1] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert roots == {str(image.root) for image in [small(tmp_path, cache, locks).find("skylift/small:1")] if image}


def test_a_killed_build_leaves_nothing_that_is_an_image(tmp_path: Path, cache: Path, locks: Path) -> None:
    command = [sys.executable, "-c", BUILD, tmp_path / "home", tmp_path / "cache", locks]
    environ = {**os.environ, "UV_CACHE_DIR": str(cache)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "home").glob("images/.new-*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    images = small(tmp_path, cache, locks)
    assert list(images.folder.glob(".new-*"))
    assert images.find("skylift/small:1") is None
    built = images.build("skylift/small:1", print)
    assert (built.root / "bin" / "python").exists()
    assert not list(images.folder.glob(".new-*"))


def test_the_newest_two_stay_and_what_runs_stays(tmp_path: Path, cache: Path, locks: Path) -> None:
    images = small(tmp_path, cache, locks)
    roots: list[Path] = []
    runs: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(4):
            (locks / "small-1.txt").write_text(f"# {number}\n{SMALL}")
            image = images.build("skylift/small:1", print)
            roots.append(image.root)
            if number == 0:
                program = image.executable("python")
                assert program is not None
                runs.append(subprocess.Popen([program, "-c", "import time; time.sleep(60)"], env={}))
        assert [root.is_dir() for root in roots] == [True, False, True, True]
    finally:
        for process in runs:
            process.kill()
            process.wait()
    (locks / "small-1.txt").write_text(f"# last\n{SMALL}")
    images.build("skylift/small:1", print)
    assert [root.is_dir() for root in roots] == [False, False, False, True]
    assert len(list(images.folder.glob("base-*"))) == 2


def test_no_registry_is_said_plainly_and_leaves_nothing(tmp_path: Path, locks: Path) -> None:
    environ = {"HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    images = small(tmp_path, tmp_path, locks, environ)
    with pytest.raises(Unavailable, match=r"cannot reach the package registry: .*six.*HTTPS_PROXY, UV_INDEX_URL"):
        images.build("skylift/small:1", print)
    assert [path.name for path in images.folder.iterdir()] == ["lock"]


def test_a_file_with_another_hash_is_refused(tmp_path: Path, cache: Path, locks: Path) -> None:
    (locks / "small-1.txt").write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Refused, match=r"(?i)hash"):
        small(tmp_path, cache, locks).build("skylift/small:1", print)
    assert [path.name for path in (tmp_path / "home" / "images").iterdir()] == ["lock"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root to mount a small disk")
def test_a_full_disk_is_said_plainly_and_leaves_nothing(tmp_path: Path, cache: Path, locks: Path) -> None:
    disk = tmp_path / "home"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "skylift", disk], check=False)
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        images = small(tmp_path, cache, locks)
        with pytest.raises(Refused, match="disk is full"):
            images.build("skylift/small:1", print)
        assert [path.name for path in images.folder.iterdir()] == ["lock"]
    finally:
        subprocess.run(["umount", disk], check=True)
