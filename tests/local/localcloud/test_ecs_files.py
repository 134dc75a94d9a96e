"""Files in the containers of ECS tasks, as real boto3 sees them: files of environment variables,
volumes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.ecs_cloud import LOG_GROUP, Cloud, definition, furnished, run, until
from tests.local.localcloud.test_ecs_exec import session

from skylift.localcloud.containers import shim
from skylift.localcloud.containers.mounts import HOST_FOLDERS, Mount
from skylift.localcloud.containers.runner import Launch, read_exit, words_of

pytestmark = pytest.mark.local


@pytest.fixture(scope="module", params=["", "tiny_template"], ids=["plain", "template"])
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("cloud")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOST_FOLDERS.env, str(home / "allowed"))
        with furnished(home, template=request.param) as started:
            yield started


@pytest.fixture(scope="module")
def ecs(cloud: Cloud) -> Any:
    return cloud.client()


def lines(cloud: Cloud, arn: str, container: str = "main") -> list[str]:
    stream = f"p/{container}/{arn.rsplit('/', 1)[-1]}"
    answer = cloud.client("logs").get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in answer["events"]]


def test_variables_from_files_in_s3(cloud: Cloud, ecs: Any) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="settings")
    s3.put_object(Bucket="settings", Key="a/one.env", Body=b"# comment\nA=one\nB=one\nC=one\n")
    s3.put_object(Bucket="settings", Key="two.env", Body=b"B=two\nD=two words\n")
    files = [{"value": f"arn:aws:s3:::settings/{key}", "type": "s3"} for key in ("a/one.env", "two.env")]
    request = definition(
        "sh", "-c", "echo $A $B $C $D", environmentFiles=files, environment=[{"name": "C", "value": "definition"}]
    )
    arn = run(ecs, request)
    until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["one one definition two words"]
    override = {"name": "main", "environmentFiles": files[1:], "environment": [{"name": "D", "value": "override"}]}
    arn = run(ecs, request, overrides={"containerOverrides": [override]})
    until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["two definition override"]


def test_a_file_of_variables_that_is_not_there(ecs: Any) -> None:
    missing = [{"value": "arn:aws:s3:::nobody/none.env", "type": "s3"}]
    task = until(ecs, run(ecs, definition("true", environmentFiles=missing)), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError: failed to download env files")
    assert "exitCode" not in task["containers"][0]


def with_volumes(request: dict[str, Any], *others: dict[str, Any], **volumes: str) -> dict[str, Any]:
    """The definition with empty volumes ``a`` and ``b``, or folders of this machine, and more containers."""
    made = [{"name": name, **({"host": {"sourcePath": path}} if path else {})} for name, path in volumes.items()]
    return {**request, "volumes": made, "containerDefinitions": [*request["containerDefinitions"], *others]}


def at(path: str, volume: str = "a", **members: Any) -> dict[str, Any]:
    return {"sourceVolume": volume, "containerPath": path, **members}


def another(name: str, *command: str, **members: Any) -> dict[str, Any]:
    return {**definition(*command, **members)["containerDefinitions"][0], "name": name}


def test_two_containers_mount_different_folders_at_one_path_at_once(cloud: Cloud, ecs: Any) -> None:
    script = (
        "import os, pathlib, sys, time\n"
        "folder, go = pathlib.Path('/opt/ml/input'), pathlib.Path(os.environ['TMPDIR']).parents[3] / 'go'\n"
        "(folder / sys.argv[1]).touch()\n"
        "while not go.exists(): time.sleep(0.1)\n"
        "print(os.listdir(folder))\n"
    )
    points = [at("/opt/ml/input")]
    arns = [run(ecs, with_volumes(definition("python", "-c", script, word, mountPoints=points), a="")) for word in "xy"]
    for arn in arns:
        until(ecs, arn, "RUNNING")
    assert not os.path.exists("/opt/ml/input")
    (cloud.home / "go").touch()
    assert [until(ecs, arn, "STOPPED")["containers"][0]["exitCode"] for arn in arns] == [0, 0]
    assert [lines(cloud, arn) for arn in arns] == [["['x']"], ["['y']"]]
    assert not any((cloud.home / "cloud" / "volumes").iterdir())


def test_containers_of_one_task_share_its_volumes(cloud: Cloud, ecs: Any) -> None:
    """A writer; a reader, for whom the volume is read-only; and one that takes over both of the reader's mounts."""
    wait = "until [ -e /in/done ]; do sleep 0.1; done; "
    writer = definition("sh", "-c", "echo text > /out/file; touch /out/done; sleep 60", mountPoints=[at("/out")])
    look = f"{wait}cat /in/file; touch /in/mine || echo not mine; touch /srv/own && echo own"
    points = [at("/in", readOnly=True), at("/srv", "b")]
    reader = another("reader", "sh", "-c", look, mountPoints=points, essential=False)
    theirs = [{"sourceContainer": "reader", "readOnly": True}]
    script = f"{wait}cat /in/file; touch /srv/x || echo not own"
    after = [{"containerName": "reader", "condition": "COMPLETE"}]
    third = another("third", "sh", "-c", script, volumesFrom=theirs, dependsOn=after)
    arn = run(ecs, with_volumes(writer, reader, third, a="", b=""))
    until(ecs, arn, "STOPPED")
    said = lines(cloud, arn, "reader")
    assert (said[0], said[2:]) == ("text", ["not mine", "own"])
    assert "Read-only file system" in said[1]
    assert lines(cloud, arn, "third")[::2] == ["text", "not own"]


def test_a_folder_of_the_machine_is_mounted_if_it_is_allowed(cloud: Cloud, ecs: Any) -> None:
    theirs = cloud.home / "allowed" / "data"
    on_ec2 = {"networkMode": "host", "requiresCompatibilities": ["EC2"]}
    work = definition("sh", "-c", "pwd; cat given; echo back > made", mountPoints=[at("/opt/data")])
    work["containerDefinitions"][0]["workingDirectory"] = "/opt/data"
    theirs.mkdir(parents=True)
    (theirs / "given").write_text("given\n")
    request = with_volumes({**work, **on_ec2}, a=str(theirs))
    name = ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"]
    arn = ecs.run_task(taskDefinition=name, launchType="EC2")["tasks"][0]["taskArn"]
    until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["/opt/data", "given"]
    assert (theirs / "made").read_text() == "back\n"
    with pytest.raises(ClientError, match="To allow one, start it with SKYLIFT_HOST_FOLDERS"):
        ecs.register_task_definition(**with_volumes({**work, **on_ec2}, a="/etc"))


def test_a_read_only_root(cloud: Cloud, ecs: Any) -> None:
    script = "for d in $HOME . /var/tmp /opt /tmp/v /dev/shm; do touch $d/x && echo $d; done; rm -f /dev/shm/x; ls /opt"
    work = definition("sh", "-c", script, readonlyRootFilesystem=True, mountPoints=[at("/tmp/v")])
    arn = run(ecs, with_volumes(work, a=""))
    until(ecs, arn, "STOPPED")
    said = lines(cloud, arn)
    assert len([line for line in said if "Read-only file system" in line]) == 4
    assert {"/tmp/v", "/dev/shm"} <= set(said)


def test_a_shell_sees_what_the_container_sees(ecs: Any) -> None:
    work = definition("sh", "-c", "echo inside > /opt/deep/file; sleep 60", mountPoints=[at("/opt/deep")])
    arn = run(ecs, with_volumes(work, a=""), enableExecuteCommand=True)
    until(ecs, arn, "RUNNING")
    command = "sh -c 'until cat /opt/deep/file; do sleep 0.1; done 2>/dev/null'"
    done = subprocess.run(session(ecs, arn, command), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"inside\n"), done.stderr
    ecs.stop_task(task=arn)


FOLDER = Path(shim.__file__).parent
ORDINARY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
WITHOUT = ["unshare", "-U", "-r", "setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@pytest.mark.parametrize(("start", "code"), [(ORDINARY, 0), (WITHOUT, 1)], ids=["ordinary user", "no namespaces"])
def test_mounts_without_root(start: list[str], code: int) -> None:
    """A shim of an ordinary user, and one where a user namespace is refused."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("needs root, to be somebody else, and the system's Python, which everybody may read")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for part in ("shim.py", "mount_namespace.py"):
            shutil.copy(FOLDER / part, home)
        launches = []
        for word in "xy":
            for part in (word, f"{word}/work", f"{word}/volume"):
                (home / part).mkdir()
            script = "touch /opt/ml/data/$0; sleep 1; ls /opt/ml/data; id -u"
            mounts = (Mount(home / word / "volume", "/opt/ml/data"),)
            arguments = ("sh", "-c", script, word)
            environment = {"PATH": "/usr/bin:/bin"}
            launches.append(
                Launch(home / word, Path("/bin/sh"), arguments, environment, home / word / "work", mounts=mounts)
            )
        if start is ORDINARY:
            for path in (home, *home.rglob("*")):
                os.chown(path, 65534, 65534)
        else:
            start = [*start[:3], "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh", *start[3:]]
        running = [
            subprocess.Popen(
                [*start, python, "-I", "-S", str(home / "shim.py"), str(one.folder)], stdin=subprocess.PIPE
            )
            for one in launches
        ]
        for process, one in zip(running, launches, strict=True):
            process.communicate(words_of(one), timeout=60)
        ends = [read_exit(one.folder) for one in launches]
        if code:
            assert all(end is not None and "skylift up --runner podman" in end.problem for end in ends), ends
        else:
            assert [(one.folder / "log").read_text() for one in launches] == ["x\n65534\n", "y\n65534\n"], ends
