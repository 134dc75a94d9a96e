"""The contract of ``Runner`` on podman, with our own image; and what only an engine does."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.runner_contract import *  # noqa: F403 - the contract's tests
from tests.contract.runner_contract import World, end_of, play, says
from tests.image.engine import IMAGE, PodmanWorld, Store

from skylift.core.errors import Refused
from skylift.localcloud.containers.engine_runner import name_of
from skylift.localcloud.containers.oci import OciImages
from skylift.localcloud.containers.runner import CannotStart, Runner

pytestmark = pytest.mark.image


@pytest.fixture
def world(tmp_path: Path, store: Store) -> PodmanWorld:
    return PodmanWorld(tmp_path, store)


def test_too_much_memory_is_137_and_told(world: World) -> None:
    async def scenario(runner: Runner) -> None:
        launch = world.launch("python3", "-c", "x = [bytearray(1 << 20) for _ in range(400)]", memory=64 << 20)
        container = await runner.start(launch)
        if container.pid is not None:
            pytest.skip("this engine cannot limit memory here: ECS watches instead, which is tested with processes")
        ended = await end_of(container)
        assert (ended.code, ended.out_of_memory) == (137, True)
        found = await runner.find(launch.folder)
        assert found is not None
        assert found.ended.result() == ended

    play(world, scenario)


def test_what_was_created_and_never_started_is_made_anew(world: World, store: Store) -> None:
    """As after a server that died between the two."""

    async def scenario(runner: Runner) -> None:
        launch = world.launch("sh", "-c", "echo second")
        store.do("podman", "create", "--name", name_of(launch.folder), IMAGE, "true")
        assert (await end_of(await runner.start(launch))).code == 0
        await says(world, launch, "second")

    play(world, scenario)


def test_a_container_that_somebody_removed_is_lost_and_not_guessed(world: World, store: Store) -> None:
    async def scenario(runner: Runner) -> None:
        launch = world.launch("sh", "-c", "echo ready; sleep 60")
        container = await runner.start(launch)
        await says(world, launch, "ready")
        await store.engine.run("rm", "--force", "--time", "0", name_of(launch.folder))
        assert (await end_of(container)).code in {None, 137}  # 137: it was seen just before it was gone

    play(world, scenario)


def test_an_image_that_is_not_there_cannot_start_nor_be_pulled(world: PodmanWorld, store: Store) -> None:
    reference = "localhost:1/no/such:1"

    async def scenario(runner: Runner) -> None:
        launch = world.launch("true")
        launch = type(launch)(**{**vars(launch), "image": reference})
        with pytest.raises(CannotStart, match=r"CannotCreateContainerError: .*such"):
            await runner.start(launch)

    play(world, scenario)
    images = OciImages(store.engine)
    assert images.find(reference) is None
    with pytest.raises(Refused, match=r"^CannotPullContainerError: localhost:1/no/such:1: "):
        images.build(reference, lambda line: None)


def test_an_image_tells_what_it_is(store: Store) -> None:
    found = OciImages(store.engine).find(IMAGE)
    assert found is not None
    assert found.entrypoint == ("python", "-m", "skylift.runtime")
    assert found.default_command == ("airflow", "version")
    assert found.cwd == "/opt/airflow"
    assert found.environment["PATH"].startswith("/opt/skylift/bin:")
    assert "PYTHONDONTWRITEBYTECODE" not in found.environment
