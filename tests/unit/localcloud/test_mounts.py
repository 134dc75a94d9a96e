"""Volumes and mount points: what is refused, what a container mounts, and how its root is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import ME, NETWORK, World, definition, played, until

from skylift.localcloud.batch.containers import ecs_request
from skylift.localcloud.containers.mount_namespace import FILE, FOLDER, LINK, TREE, plan
from skylift.localcloud.containers.mounts import HOST_FOLDERS, MWAA_PATHS, Mount, allowed, shim_word
from skylift.localcloud.ecs.model.checks import check_definition
from skylift.localcloud.ecs.model.volumes import MountPoint, check_volumes, mount_points
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit

DISK: dict[str, dict[str, str]] = {
    "/": {"bin": LINK, "etc": TREE, "opt": TREE, "usr": TREE, "vmlinuz": FILE},
    "/etc": {},
    "/opt": {"tool": TREE, "lib": LINK},
    "/opt/tool": {},
    "/usr": {"lib": TREE, "local": TREE},
    "/usr/lib": {},
    "/usr/local": {"bin": TREE},
    "/usr/local/bin": {},
}
WHOLE = [(LINK, "/bin"), (TREE, "/etc"), (TREE, "/opt"), (TREE, "/usr"), (FILE, "/vmlinuz")]
OPT = [(FOLDER, "/opt"), (LINK, "/opt/lib"), (TREE, "/opt/tool")]
USR = [(FOLDER, "/usr"), (TREE, "/usr/lib"), (FOLDER, "/usr/local"), (TREE, "/usr/local/bin")]


def look(folder: str) -> Mapping[str, str]:
    return DISK[folder]


@pytest.mark.parametrize(
    ("points", "steps"),
    [
        ([], WHOLE),
        (["/etc", "/opt/tool"], WHOLE),
        (["/new", "/new/deep"], WHOLE),
        (["/opt/ml"], [*WHOLE[:2], *OPT, *WHOLE[3:]]),
        (["/opt/ml/data", "/opt/tool/in"], [*WHOLE[:2], (FOLDER, "/opt"), OPT[1], (FOLDER, "/opt/tool"), *WHOLE[3:]]),
        (["/usr/local/airflow/dags"], [*WHOLE[:3], *USR, WHOLE[4]]),
        (["/opt/tool", "/opt/tool/in"], WHOLE),
    ],
    ids=["nothing", "all there", "new at the top", "new below", "two", "deep", "in another"],
)
def test_only_what_has_no_place_is_built_anew(points: list[str], steps: list[tuple[str, str]]) -> None:
    assert plan(points, look) == steps


def volumes(*containers: dict[str, Any], **members: Any) -> dict[str, Any]:
    request = definition()
    named = [{"name": f"c{number}", "image": "i", **one} for number, one in enumerate(containers)]
    return {**request, "volumes": [{"name": "v"}, {"name": "w"}], "containerDefinitions": named, **members}


def at(path: str, volume: str = "v", **members: Any) -> dict[str, Any]:
    return {"sourceVolume": volume, "containerPath": path, **members}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (volumes({"mountPoints": [at("/a", "x")]}), "Unknown volume 'x'."),
        (volumes({"mountPoints": [at("a")]}), "must be an absolute path"),
        (volumes({"mountPoints": [at("/")]}), "must be an absolute path other than /"),
        (volumes({"mountPoints": [at("/a/..")]}), "must be an absolute path other than /"),
        (volumes({"mountPoints": [at("/a:b")]}), "must be an absolute path"),
        (volumes({"mountPoints": [at("/a"), at("/a/", "w")]}), "duplicate mount point"),
        (volumes({"volumesFrom": [{"sourceContainer": "x"}]}), "does not exist: x"),
        (volumes({"volumesFrom": [{"sourceContainer": "c0"}]}), "Circular dependency"),
        (volumes({}, volumes=[{"name": "a/b"}]), "Invalid volume name 'a/b'"),
        (volumes({}, volumes=[{"name": "a"}, {"name": "a"}]), "Duplicate volume 'a'."),
        (volumes({}, volumes=[{"name": "a", "efsVolumeConfiguration": {"fileSystemId": "f"}}]), "efsVolumeConfig"),
        (volumes({}, volumes=[{"name": "a", "configuredAtLaunch": True}]), "configuredAtLaunch is not supported"),
    ],
)
def test_volumes_that_are_refused(request_: dict[str, Any], said: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_definition(request_)
    assert caught.value.code == "ClientException"
    assert said in caught.value.message


def test_volumes_that_are_registered() -> None:
    check_definition(volumes({"mountPoints": [at("/a"), at("/a/b", "w", readOnly=True)]}, {"volumesFrom": []}))
    check_definition(volumes({}, volumes=[{"name": "a", "host": {}}]))


def test_a_folder_of_the_machine_must_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "away").symlink_to("/etc")

    def check(path: str) -> None:
        check_volumes(volumes({}, volumes=[{"name": "a", "host": {"sourcePath": path}}]), [tmp_path / "mine"])

    check(str(tmp_path / "mine"))
    check(str(tmp_path / "mine" / "deep"))
    for path in (str(tmp_path), str(tmp_path / "mine" / ".." / "x"), str(tmp_path / "mine" / "away"), "mine"):
        with pytest.raises(AwsError, match="start it with SKYLIFT_HOST_FOLDERS=FOLDER"):
            check(path)
    assert not allowed(tmp_path, [])
    assert HOST_FOLDERS.parse("/a:/b/c") == (Path("/a"), Path("/b/c"))
    for wrong in ("a", "/", "/a:b"):
        with pytest.raises(ValueError, match="absolute"):
            HOST_FOLDERS.parse(wrong)


def test_what_a_container_mounts() -> None:
    containers = {
        "a": {"mountPoints": [at("/a"), at("/both")]},
        "b": {"volumesFrom": [{"sourceContainer": "a", "readOnly": True}], "mountPoints": [at("/both", "w")]},
        "c": {"volumesFrom": [{"sourceContainer": "b"}]},
    }
    assert mount_points("a", containers) == [MountPoint("v", "/a", False), MountPoint("v", "/both", False)]
    seen = {MountPoint("v", "/a", True), MountPoint("w", "/both", False)}
    assert set(mount_points("b", containers)) == set(mount_points("c", containers)) == seen


def test_the_shims_word() -> None:
    mounts = [Mount(Path("/s"), "/t"), Mount(Path("/u"), "/v", True)]
    assert shim_word((), False) == ""
    assert shim_word(mounts, False) == "rw\t/s\t/t\nro\t/u\t/v"
    assert shim_word(mounts[:1], True) == "read-only root\nrw\t/s\t/t"


def test_a_batch_job_has_its_volumes() -> None:
    properties = {"image": "i", "volumes": [{"name": "v"}], "mountPoints": [at("/a")], "vcpus": 1, "memory": 8}
    request = ecs_request({"jobDefinitionName": "j", "type": "container", "containerProperties": properties}, "r")
    check_definition(request)
    assert (request["volumes"], request["containerDefinitions"][0]["mountPoints"]) == ([{"name": "v"}], [at("/a")])


def test_a_mount_that_would_hide_the_container_is_refused(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        request = definition(mountPoints=[at(str(tmp_path.parent))])
        world.ecs.register_task_definition(ME, {**request, "volumes": [{"name": "v"}]})
        answer = world.ecs.run_task(ME, {"taskDefinition": "f", "networkConfiguration": NETWORK})
        arn = answer["tasks"][0]["taskArn"]
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert "would hide" in world.task(arn)["containers"][0]["reason"]

    played(tmp_path, scenario)


@pytest.mark.parametrize("asked", [True, False])
def test_an_image_may_have_airflows_home_where_mwaa_has_it(asked: bool, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.pictures.environment = {"PATH": "/bin", **({MWAA_PATHS.env: "true"} if asked else {})}
        world.ecs.register_task_definition(ME, definition())
        world.ecs.run_task(ME, {"taskDefinition": "f", "networkConfiguration": NETWORK})
        await until(lambda: bool(world.runner.running))
        launch = world.runner.running[0].launch
        home = Path(launch.environment["HOME"], "airflow")
        assert launch.mounts == ((Mount(home, "/usr/local/airflow"),) if asked else ())
        assert home.is_dir() is asked

    played(tmp_path, scenario)
