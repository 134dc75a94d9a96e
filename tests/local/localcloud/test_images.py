"""Images built by the real uv: the shipped one runs Airflow; small ones show locks, kills, clearing up and errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from skylift.core.errors import Refused, Unavailable
from skylift.localcloud.images.built import SYSTEM_PATH, BuiltImage, BuiltImages
from skylift.localcloud.images.found import LocalImages
from skylift.localcloud.images.pythons import image_python
from skylift.localcloud.images.registry import NamedImage

pytestmark = pytest.mark.local
SMALL = """
six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274 \\
    --hash=sha256:ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81
"""
BUILD = """
import os, sys
from pathlib import Path
from skylift.localcloud.images.built import BuiltImages
home, cache, locks = map(Path, sys.argv[1:])
print(BuiltImages(home, cache, locks=locks).build("skylift/small:1", lambda line: print(line, flush=True)).root)
"""


@pytest.fixture(scope="module")
def cache() -> Path:
    """The user's own cache of uv: the tests need not download what was downloaded before."""
    return Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[BuiltImage]:
    home = tmp_path_factory.mktemp("images")
    lines: list[str] = []
    built = BuiltImages(home, home / "cache", environ={**os.environ, "UV_CACHE_DIR": str(cache)}).build(
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


def small(tmp_path: Path, cache: Path, locks: Path, environ: Mapping[str, str] | None = None) -> BuiltImages:
    environ = {**os.environ, "UV_CACHE_DIR": str(cache)} if environ is None else environ
    return BuiltImages(tmp_path / "home", tmp_path / "cache", environ=environ, locks=locks)


def run_in(image: BuiltImage, home: Path, *command: str) -> str:
    program = image.executable(command[0])
    assert program is not None
    environ = {**image.environment, "HOME": str(home), "AIRFLOW_HOME": str(home), "LANG": "C.UTF-8"}
    done = subprocess.run([program, *command[1:]], env=environ, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_shipped_image_runs_airflow(image: BuiltImage, tmp_path: Path) -> None:
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


VIRTUALENVS = """
import json, subprocess, sys, tempfile
from airflow.providers.standard.utils.python_virtualenv import prepare_virtualenv

LOOK = (
    "import importlib.util as u, json, sys; "
    "print(json.dumps([sys.prefix, list(sys.version_info[:2]), bool(u.find_spec('airflow'))]))"
)
found = {}
for name, *how in json.loads(sys.argv[1]):
    folder = tempfile.mkdtemp(dir=".")
    made = prepare_virtualenv(folder, *how)
    prefix, *rest = json.loads(subprocess.run([made, "-c", LOOK], capture_output=True, text=True, check=True).stdout)
    found[name] = [prefix.endswith(folder.rpartition("/")[2]), *rest]
print(json.dumps(found))
"""


def test_virtualenv_operators_work_where_the_system_has_no_python(image: BuiltImage, tmp_path: Path) -> None:
    """As on a machine with python3 alone or with another Python, and as in an OCI image, which has its own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "env", "realpath", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    here = list(image_python(os.environ).minor)
    for name in ("python", "python3", f"python3.{here[1]}"):
        (tools / name).write_text("#!/bin/sh\nexit 99\n")  # the machine's own: another version, or broken
        (tools / name).chmod(0o755)
    path = image.environment["PATH"].replace(SYSTEM_PATH, str(tools))
    assert path != image.environment["PATH"]
    poor = replace(image, environment={**image.environment, "PATH": path})
    (tmp_path / "virtualenvs.py").write_text(VIRTUALENVS)
    # What PythonVirtualenvOperator asks for: the Python's name (python, python{python_version}), system_site_packages.
    wanted = [("default", "python", True), ("alone", "python", False), ("3", "python3", True)]
    wanted.append(("3.x", f"python3.{here[1]}", True))
    printed = run_in(poor, tmp_path, "python", "virtualenvs.py", json.dumps(wanted))
    assert json.loads(printed.splitlines()[-1]) == {
        "default": [True, here, True],
        "alone": [True, here, False],
        "3": [True, here, True],
        "3.x": [True, here, True],
    }
    assert run_in(poor, tmp_path, "bash", "-c", "python -c 'import airflow, sys; print(sys.prefix)'").strip() == str(
        image.root
    )


def test_a_named_image_has_the_python_under_it_too(tmp_path: Path, cache: Path, locks: Path) -> None:
    theirs = small(tmp_path, cache, locks).build("skylift/small:1", print).root
    images = LocalImages(small(tmp_path, cache, locks), tmp_path, {"my/app:1": NamedImage(theirs)})
    for _ in range(2):
        found = images.find("my/app:1")
        assert found
    base = shutil.which("python", path=found.environment["PATH"].partition(":")[2])
    assert base
    code = "import sys, six; print(sys.prefix == sys.base_prefix, six.__file__)"
    environ = {**found.environment, "HOME": str(tmp_path)}
    own, six = subprocess.run(
        [base, "-c", code], env=environ, capture_output=True, text=True, check=True
    ).stdout.split()
    assert own == "True"
    assert Path(six).is_relative_to(theirs)
    assert not list(theirs.glob("pythons")), "nothing is written into their folder"


def test_every_module_of_the_shipped_image_has_bytecode(image: BuiltImage) -> None:
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


def test_the_newest_three_stay_and_what_runs_stays(tmp_path: Path, cache: Path, locks: Path) -> None:
    images = small(tmp_path, cache, locks)
    roots: list[Path] = []
    runs: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(5):
            (locks / "small-1.txt").write_text(f"# {number}\n{SMALL}")
            image = images.build("skylift/small:1", print)
            roots.append(image.root)
            if number == 0:
                program = image.executable("python")
                assert program is not None
                runs.append(subprocess.Popen([program, "-c", "import time; time.sleep(60)"], env={}))
        assert [root.is_dir() for root in roots] == [True, False, True, True, True]
    finally:
        for process in runs:
            process.kill()
            process.wait()
    (locks / "small-1.txt").write_text(f"# last\n{SMALL}")
    images.build("skylift/small:1", print)
    assert [root.is_dir() for root in roots] == [False, False, False, True, True]
    assert len(list(images.folder.glob("base-*"))) == 3


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
