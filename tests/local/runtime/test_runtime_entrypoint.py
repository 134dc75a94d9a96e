"""The entrypoint as containers start it: real processes, signals, exit codes, the startup script from S3, and its
speed."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.local.runtime_cloud import rest_of_aws

from skylift.core.containers import MWAA_HOME
from skylift.localcloud.containers.mounts import Mount
from skylift.localcloud.containers.runner import Launch, ProcessRunner
from skylift.runtime.components import own_address, task_id

pytestmark = pytest.mark.local
BUCKET = "startup-bucket"


def start(*command: str, **variables: str) -> subprocess.Popen[str]:
    environ = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **variables}
    arguments = [sys.executable, "-m", "skylift.runtime", *command]
    return subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*command: str, **variables: str) -> tuple[int, str, str]:
    process = start(*command, **variables)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_program_takes_the_place_of_the_entrypoint_and_gets_the_signals(tmp_path: Path) -> None:
    text = (
        "import os, signal, sys; signal.signal(15, lambda *_: sys.exit(42)); print(os.getpid(), flush=True); "
        "signal.pause()"
    )
    process = start("python", "-c", text, HOME=str(tmp_path))
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 42
    process.communicate(timeout=20)


def test_exit_codes_are_the_programs_own(tmp_path: Path) -> None:
    assert run("bash", "-c", "exit 9", HOME=str(tmp_path))[0] == 9
    code, _, err = run("no-such-program", HOME=str(tmp_path))
    assert (code, err) == (127, "skylift: no-such-program: no such program in this image\n")
    assert run(HOME=str(tmp_path))[0] == 64


def test_a_wrong_setting_is_one_clear_line(tmp_path: Path) -> None:
    given = {"SKYLIFT_STARTUP_SCRIPT": "s3://b/k", "SKYLIFT_STARTUP_SECONDS": "soon"}
    code, _, err = run("true", HOME=str(tmp_path), **given)
    assert code == 78
    assert err.startswith("skylift: SKYLIFT_STARTUP_SECONDS: 'soon' cannot be used")
    assert err.count("\n") == 1


def test_the_common_case_is_quick_and_imports_neither_airflow_nor_boto3(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    arguments = [sys.executable, "-X", "importtime", "-m", "skylift.runtime", "true"]
    imported = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=True).stderr
    assert "skylift.runtime.components" in imported
    assert not [name for name in ("boto", "airflow", "urllib.request", "asyncio") if f" {name}" in imported]

    def seconds(*command: str) -> float:
        """Of CPU, which a busy machine does not change as it changes the clock on the wall."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], env=environ, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    entrypoint = min(seconds("-m", "skylift.runtime", "true") for _ in range(8))
    assert entrypoint - min(seconds("-c", "pass") for _ in range(8)) < 0.06


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with rest_of_aws(tmp_path_factory.mktemp("aws")) as found:
        s3_of(found).create_bucket(Bucket=BUCKET)
        s3_of(found).put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield found


def s3_of(cloud: dict[str, str]) -> Any:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=cloud["AWS_ENDPOINT_URL"], **keys)


def put(cloud: dict[str, str], text: str) -> str:
    version = s3_of(cloud).put_object(Bucket=BUCKET, Key="startup.sh", Body=text.encode())["VersionId"]
    return f"s3://{BUCKET}/startup.sh?versionId={version}"


def test_the_startup_scripts_variables_reach_the_program(cloud: dict[str, str], tmp_path: Path) -> None:
    url = put(cloud, "echo from startup\nexport TEAM=weather AWS_REGION=mars-1 SKYLIFT_DAGS=stolen\n")
    put(cloud, "exit 1\n")  # a newer version, which is not asked for
    given = {"HOME": str(tmp_path), "SKYLIFT_LAYER_CACHE": str(tmp_path / "cache"), "SKYLIFT_STARTUP_SCRIPT": url}
    show = 'echo "$TEAM $AWS_REGION $SKYLIFT_DAGS $MWAA_AIRFLOW_COMPONENT."'
    expected = (0, "from startup\nweather us-east-1  .\n", "")
    assert run("bash", "-c", show, **given, **cloud) == expected
    without_s3 = cloud | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert run("bash", "-c", show, **given, **without_s3) == expected, "one version is fetched once"


async def _output(launch: Launch) -> str:
    container = await ProcessRunner().start(launch)
    ended = await container.ended
    return f"{(launch.folder / 'log').read_text()}{ended.code}"


def test_dags_are_found_by_mwaas_paths(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    bundle = home / "airflow" / "dag_bundles" / "dags" / "dags"
    for folder in (bundle, work):
        folder.mkdir(parents=True)
    (bundle / "one.sql").write_text("select 1\n")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "SKYLIFT_DAGS": "s3://nobody/dags"}
    show = f"cat {MWAA_HOME}/dags/one.sql $AIRFLOW_HOME/dags/one.sql"
    words = (sys.executable, "-m", "skylift.runtime", "sh", "-c", show)
    mounts = (Mount(home / "airflow", MWAA_HOME),)
    launch = Launch(tmp_path, Path(sys.executable), words, environ, work, mounts=mounts)
    assert asyncio.run(_output(launch)) == "select 1\nselect 1\n0"


def test_a_failing_startup_script_stops_the_container(cloud: dict[str, str], tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path), "SKYLIFT_LAYER_CACHE": str(tmp_path / "cache"), **cloud}
    code, out, err = run("echo", "never", SKYLIFT_STARTUP_SCRIPT=put(cloud, "exit 5\n"), **given)
    assert (code, out) == (81, "")
    assert err == "skylift: startup.sh failed with exit code 5\n"
    code, _, err = run("true", SKYLIFT_STARTUP_SCRIPT=f"s3://{BUCKET}/none.sh", **given)
    assert (code, "does not exist" in err) == (81, True)


def test_a_container_that_is_stopped_during_startup_leaves_nothing(cloud: dict[str, str], tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    given = {"HOME": str(tmp_path), "SKYLIFT_LAYER_CACHE": str(tmp_path / "cache"), "TMPDIR": str(temporary), **cloud}
    process = start("true", SKYLIFT_STARTUP_SCRIPT=put(cloud, f"sleep 300 & echo $! > {mark}\nwait\n"), **given)
    wait_until(lambda: mark.exists() and mark.read_text().strip() != "")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    process.communicate(timeout=20)
    wait_until(lambda: not alive(int(mark.read_text())))
    assert not list(temporary.iterdir())


def test_a_container_knows_its_address_and_its_ecs_task() -> None:
    labels = {"com.amazonaws.ecs.task-arn": "arn:aws:ecs:us-east-1:000000000000:task/skylift/0123"}
    network = {"NetworkMode": "awsvpc", "IPv4Addresses": ["127.64.3.7"]}
    answer = json.dumps({"Networks": [network], "Labels": labels}).encode()

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v4/x"
        assert own_address({"ECS_CONTAINER_METADATA_URI_V4": url}) == "127.64.3.7"
        assert task_id({"ECS_CONTAINER_METADATA_URI_V4": url}) == "0123"
        assert task_id({}) == "", "outside ECS"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wait_until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_airflow_ends_without_searching_all_its_memory() -> None:
    program = (
        "import atexit, gc, runpy, sys; sys.argv = ['airflow', 'version'];"
        "atexit.register(lambda: print('frozen:', gc.get_freeze_count() > 100_000));"
        "runpy.run_module('skylift.runtime.airflow_main', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-2:] == ["3.3.2", "frozen: True"]
