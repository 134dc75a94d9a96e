"""Our own image: what is in it, and an ECS task of it, by real boto3 through the local cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.image.engine import IMAGE, Store, build_base, build_image
from tests.local.ecs_cloud import ACCOUNT, LOG_GROUP, OWNER, Cloud, definition, run, until

from skylift.localcloud.containers.engine_runner import EngineRunner
from skylift.localcloud.containers.oci import OciImages

pytestmark = pytest.mark.image
SECONDS = 60


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud"))
    made.images = OciImages(store.engine)  # type: ignore[assignment]  # another kind of images
    made.runner = EngineRunner(store.engine)
    made.start()
    try:
        made.client().create_cluster()
        made.client("logs").create_log_group(logGroupName=LOG_GROUP)
        yield made
    finally:
        made.stop()


def lines(cloud: Cloud, arn: str) -> list[str]:
    stream = f"p/main/{arn.rpartition('/')[2]}"
    events = cloud.client("logs").get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in events["events"]]


def ended(cloud: Cloud, request: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    request["memory"], request["cpu"] = "1024", "512"
    request["containerDefinitions"][0]["image"] = request["containerDefinitions"][0].pop("from", IMAGE)
    arn = run(cloud.client(), request)
    found = until(cloud.client(), arn, "STOPPED", SECONDS)
    return found, lines(cloud, arn) if found.get("startedAt") else []


def test_an_ecs_task_of_our_image_tells_airflows_version(cloud: Cloud) -> None:
    task, said = ended(cloud, definition("airflow", "version"))
    assert task["containers"][0]["exitCode"] == 0, said
    assert said[-1] == "3.3.2"
    assert task["stopCode"] == "EssentialContainerExited"


def test_a_container_has_its_roles_credentials_and_its_own_address(cloud: Cloud) -> None:
    code = (
        "import boto3, json, os, urllib.request as u\n"
        "print(boto3.client('sts').get_caller_identity()['Arn'])\n"
        "print(json.load(u.urlopen(os.environ['ECS_CONTAINER_METADATA_URI_V4']))['Networks'][0]['IPv4Addresses'][0])\n"
        "print(os.getuid(), os.getgid())\n"
        "raise SystemExit(9)"
    )
    task, said = ended(cloud, definition("python", "-c", code))
    address = next(item["value"] for item in task["attachments"][0]["details"] if item["name"] == "privateIPv4Address")
    assert task["containers"][0]["exitCode"] == 9, said
    assert f"arn:aws:sts::{ACCOUNT}:assumed-role/work/" in said[0]
    assert said[1:] == [address, "50000 0"]


def test_a_stop_is_sigterm_and_then_sigkill(cloud: Cloud) -> None:
    request = definition("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done", stopTimeout=2)
    request["containerDefinitions"][0]["image"] = IMAGE
    arn = run(cloud.client(), request)
    until(cloud.client(), arn, "RUNNING", SECONDS)
    cloud.client().stop_task(task=arn, reason="enough")
    task = until(cloud.client(), arn, "STOPPED", SECONDS)
    assert (task["containers"][0]["exitCode"], task["stopCode"]) == (137, "UserInitiated")
    assert "reason" not in task["containers"][0]


def test_volumes_and_a_root_that_is_read_only(cloud: Cloud) -> None:
    script = "echo text > /opt/ml/file && cat /again/file; touch /again/no /opt/no /tmp/no || echo read-only"
    points = [
        {"sourceVolume": "v", "containerPath": "/opt/ml"},
        {"sourceVolume": "v", "containerPath": "/again", "readOnly": True},
    ]
    work = definition(script, entryPoint=["sh", "-c"], user="root", mountPoints=points, readonlyRootFilesystem=True)
    _, said = ended(cloud, {**work, "volumes": [{"name": "v"}]})
    assert (said[0], said[-1]) == ("text", "read-only")
    assert len([line for line in said if "Read-only file system" in line]) == 3


def test_what_cannot_start_says_why(cloud: Cloud) -> None:
    task, _ = ended(cloud, definition("x", entryPoint=["/nope"]))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["containers"][0]["reason"].startswith("CannotStartContainerError: ")
    task, _ = ended(cloud, definition("x", **{"from": "localhost:1/no/such:1"}))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: ")


def test_too_much_memory_is_told_as_ecs_tells_it(cloud: Cloud) -> None:
    code = "x = [bytearray(1 << 20) for _ in range(900)]; import time; time.sleep(20)"
    task, _ = ended(cloud, definition("python", "-c", code, memory=100))
    container = task["containers"][0]
    assert (container["exitCode"], container["reason"]) == (
        137,
        "OutOfMemoryError: Container killed due to memory usage",
    )


def test_nothing_of_this_machine_is_in_the_image_and_bytecode_is(store: Store) -> None:
    script = (
        "set -e; cd /opt/skylift/lib/python3*/site-packages;"
        'test -z "$PYTHONDONTWRITEBYTECODE$PIP_INDEX_URL$SSL_CERT_FILE";'
        "test -f airflow/__pycache__/__init__.*.pyc; test -f skylift/runtime/__pycache__/__main__.*.pyc;"
        "test ! -e /root/.cache/uv; test ! -e /build; test ! -w airflow; test -w /opt/airflow; ls -A /opt/airflow/dags"
    )
    assert store.do("podman", "run", "--rm", "--entrypoint", "sh", IMAGE, "-c", script) == ""


def test_dags_of_a_folder_can_be_built_in(store: Store) -> None:
    folder = Path(__file__).parents[2] / "examples" / "quickstart" / "dags"
    name = "localhost/skylift-with-dags:test"
    build_image(store, build_base(store), "--build-arg", f"DAGS={folder.relative_to(folder.parents[2])}", name=name)
    try:
        seen = store.do("podman", "run", "--rm", "--entrypoint", "ls", name, "/opt/airflow/dags").split()
        assert {path.name for path in folder.glob("*.py")} <= {*seen}
    finally:
        store.do("podman", "rmi", name)


def test_dags_go_where_the_build_says_and_airflow_knows(store: Store) -> None:
    name = "localhost/skylift-dags-elsewhere:test"
    options = [
        f"--build-arg={one}" for one in ("host_dag_path=examples/quickstart/dags", "container_dag_path=/my/dags")
    ]
    build_image(store, build_base(store), *options, name=name)
    try:
        script = "ls /my/dags; airflow config get-value core dags_folder"
        seen = store.do("podman", "run", "--rm", name, "sh", "-c", script).split()
        assert "quickstart.py" in seen
        assert seen[-1] == "/my/dags"
    finally:
        store.do("podman", "rmi", name)


@pytest.mark.parametrize("key", ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"])
def test_keys_are_refused_as_build_arguments(store: Store, key: str) -> None:
    with pytest.raises(Exception, match="No keys in an image"):
        build_image(store, build_base(store), f"--build-arg={key}=AKIAEXAMPLE", name="localhost/with-keys:test")
    assert not store.has("localhost/with-keys:test")


def test_the_aws_cli_and_dags_from_s3_with_mounted_settings(cloud: Cloud, store: Store, tmp_path: Path) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="my-dags")
    s3.put_object(Bucket="my-dags", Key="team/one.py", Body=b"one = 1")
    folder = tmp_path / "aws"
    folder.mkdir()
    (folder / "config").write_text(f"[default]\nregion = us-east-1\nendpoint_url = {cloud.url}\n")
    keys = f"aws_access_key_id = {OWNER.access_key}\naws_secret_access_key = {OWNER.secret}\n"
    (folder / "credentials").write_text(f"[default]\n{keys}")
    folder.chmod(0o755)
    mounted = ["--network=host", "-v", f"{folder}:/home/airflow/.aws:ro"]
    said = store.do("podman", "run", "--rm", *mounted, IMAGE, "aws", "s3", "ls", "s3://my-dags/team/")
    assert "one.py" in said
    from_s3 = ["-e", "SKYLIFT_S3_DAGS=s3://my-dags/team"]
    assert store.do("podman", "run", "--rm", *mounted, *from_s3, IMAGE, "ls", "/opt/airflow/dags").split() == ["one.py"]
