"""What a container may use and see: memory, processors, a slot on the machine, files, and nothing of the server."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.ecs_cloud import LOG_GROUP, Cloud, definition, described, furnished, run, until, wait_for

pytestmark = pytest.mark.local

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
FILL = (
    "import sys, time; b = bytearray(); print('filling', flush=True)\nwhile True: b += bytes(10 << 20); "
    "time.sleep(0.02)"
)
FORK = """
import os, time
b = bytearray(os.urandom(1 << 20)) * 300
for _ in range(3):
    if os.fork() == 0: time.sleep(1.5); os._exit(0)
for _ in range(3): os.wait()
print('shared', flush=True)
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with furnished(tmp_path_factory.mktemp("limits")) as started:
        yield started


@pytest.fixture
def ecs(cloud: Cloud) -> Any:
    return cloud.client()


def lines(cloud: Cloud, arn: str, container: str = "main") -> list[str]:
    stream = f"p/{container}/{arn.rsplit('/', 1)[-1]}"
    logs = cloud.client("logs")
    events = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)["events"]
    return [event["message"] for event in events]


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def container_pid(cloud: Cloud, arn: str) -> int:
    """The first process of an ECS task's first container."""
    folder = cloud.home / "cloud" / "containers" / f"{arn.rsplit('/', 1)[-1][:12]}-0"
    return int((folder / "pid").read_text().split()[2])


def test_ulimits(cloud: Cloud, ecs: Any) -> None:
    arn = run(
        ecs,
        definition("sh", "-c", "ulimit -n; ulimit -Hn", ulimits=[{"name": "nofile", "softLimit": 77, "hardLimit": 88}]),
    )
    assert until(ecs, arn, "STOPPED")["containers"][0]["exitCode"] == 0
    assert lines(cloud, arn) == ["77", "88"]


def test_over_the_container_limit(cloud: Cloud, ecs: Any) -> None:
    """The whole container dies, also a part of it that is a session of its own."""
    program = f"import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', {FILL!r}], start_new_session=True)"
    arn = run(ecs, definition("python", "-c", program, memory=200))
    until(ecs, arn, "RUNNING")
    first = container_pid(cloud, arn)
    wait_for(lambda: children_of(first))
    child = children_of(first)[0]
    peak, crossed, gone = 0, 0.0, 0.0
    deadline = time.monotonic() + 20
    while not gone and time.monotonic() < deadline:
        try:
            resident = int(Path(f"/proc/{child}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            gone = time.monotonic()
            continue
        peak = max(peak, resident)
        crossed = crossed or (time.monotonic() if resident > 200 << 20 else 0.0)
        time.sleep(0.01)
    assert gone - crossed < 1.0, f"lived on for {gone - crossed:.2f} s"
    assert peak < 700 << 20
    task = until(ecs, arn, "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert (task["containers"][0]["exitCode"], task["containers"][0]["reason"]) == (137, OUT_OF_MEMORY)


def test_over_the_ecs_tasks_limit(cloud: Cloud, ecs: Any, tmp_path: Path) -> None:
    """Of several containers, the largest; one that is not essential takes nobody along."""
    over = tmp_path / "over"
    request = definition("sh", "-c", f"while [ ! -e {over} ]; do sleep 0.05; done; exit 4")
    hog = {**request["containerDefinitions"][0], "name": "hog", "command": ["python", "-c", FILL], "essential": False}
    request["containerDefinitions"].append(hog)
    arn = run(ecs, request)
    wait_for(lambda: "STOPPED" in {one["lastStatus"] for one in described(ecs, arn)["containers"]}, 60)
    over.touch()
    task = until(ecs, arn, "STOPPED")
    codes = {one["name"]: (one["exitCode"], one.get("reason")) for one in task["containers"]}
    assert codes == {"main": (4, None), "hog": (137, OUT_OF_MEMORY)}


def test_an_override_is_the_limit(ecs: Any) -> None:
    overrides = {"containerOverrides": [{"name": "main", "memory": 100}]}
    arn = run(ecs, definition("python", "-c", FILL, memory=500), overrides=overrides)
    task = until(ecs, arn, "STOPPED")
    assert task["containers"][0]["reason"] == OUT_OF_MEMORY


def test_forks_that_share_memory_are_not_killed(cloud: Cloud, ecs: Any) -> None:
    arn = run(ecs, definition("python", "-c", FORK, memory=400))
    task = until(ecs, arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 0
    assert lines(cloud, arn) == ["shared"]


SIGHT = """
import json, os, resource
seen = {
    'descriptors': sorted(f'{n}:{os.readlink(f"/proc/self/fd/{n}").split("/")[-1]}' for n in map(int, os.listdir('/proc/self/fd')) if os.path.exists(f'/proc/self/fd/{n}')),
    'umask': os.umask(0), 'files': resource.getrlimit(resource.RLIMIT_NOFILE)[0], 'nice': os.nice(0),
    'session': os.getsid(0) == os.getpid(), 'names': sorted(os.environ), 'cwd': os.getcwd(), 'home': os.environ['HOME'],
}
print(json.dumps(seen), flush=True)
"""


def test_what_a_container_sees(cloud: Cloud, ecs: Any) -> None:
    arn = run(
        ecs,
        definition(
            "python", "-S", "-c", "import time; time.sleep(0.3)\n" + SIGHT, environment=[{"name": "MINE", "value": "1"}]
        ),
    )
    until(ecs, arn, "STOPPED")
    (line,) = lines(cloud, arn)
    seen = json.loads(line)
    folder = str(cloud.home / "cloud" / "containers")
    assert seen["descriptors"] == ["0:null", "1:log", "2:log"]
    assert (seen["umask"], seen["session"], seen["nice"]) == (0o022, True, 11)
    assert 1024 <= seen["files"] <= 65535
    assert seen["cwd"].startswith(folder)
    assert seen["home"].startswith(folder)
    assert seen["names"] == sorted(
        [
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_DEFAULT_REGION",
            "AWS_DISABLE_HOST_PREFIX_INJECTION",
            "AWS_EC2_METADATA_DISABLED",
            "AWS_ENDPOINT_URL",
            "AWS_EXECUTION_ENV",
            "AWS_REGION",
            "ECS_AGENT_URI",
            "ECS_CONTAINER_METADATA_URI_V4",
            "HOME",
            "LANG",
            "MINE",
            "PATH",
            "TMPDIR",
        ]
    )


ASK = """
import os, urllib.request, urllib.error
def ask(token):
    request = urllib.request.Request(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI'], headers={'Authorization': token})
    try: return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error: return error.code
print(ask(os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']), ask(''), ask('x' * 32), flush=True)
"""


def test_the_roles_credentials_are_for_its_container_only(cloud: Cloud, ecs: Any) -> None:
    arn = run(ecs, definition("python", "-c", ASK))
    until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["200 403 403"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{cloud.url}/_skylift/credentials/{arn.rsplit('/', 1)[-1]}")
