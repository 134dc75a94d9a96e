"""Images from containerfiles: built once for each content, and what goes wrong is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.local.anyscale.test_anyscale_jobs import on

import skylift.anyscale.submitting as submitting
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.containerfile import image_of
from skylift.anyscale.parameters import job_request, service_request
from skylift.anyscale.refusals import AnyscaleRefused
from skylift.testing.anyscale import Anyscale

pytestmark = [pytest.mark.local, pytest.mark.timeout(240)]
BUILDS = "/ext/v0/cluster_environment_builds/"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def written(*lines: str, name: str = "Containerfile") -> str:
        (tmp_path / name).write_text("\n".join(lines))
        return str(tmp_path / name)

    return written


def test_a_containerfile_is_built_once_for_each_content(anyscale: Anyscale, write: Callable[..., str]) -> None:
    path, before = write("FROM a", "RUN one"), anyscale.asked().count(("POST", BUILDS))
    one, again = (on(anyscale, lambda client: image_of(client, path)) for _ in range(2))
    assert one == again
    assert one.startswith("anyscale/image/containerfile-")
    assert anyscale.asked().count(("POST", BUILDS)) == before + 1
    other = on(anyscale, lambda client: image_of(client, write("FROM a", "RUN two", name="other")))
    assert one.rpartition(":")[0] != other.rpartition(":")[0]


def test_who_comes_while_it_is_built_waits_along(anyscale: Anyscale, write: Callable[..., str]) -> None:
    path, before = write("FROM a", "RUN three"), anyscale.asked().count(("POST", BUILDS))

    async def both(client: AnyscaleClient) -> tuple[str, str]:
        first = asyncio.create_task(image_of(client, path))
        while anyscale.asked().count(("POST", BUILDS)) == before:
            await asyncio.sleep(0.02)
        return await image_of(client, path), await first

    one, other = on(anyscale, both)
    assert one == other
    assert anyscale.asked().count(("POST", BUILDS)) == before + 1


def test_jobs_and_services_start_from_it(anyscale: Anyscale, write: Callable[..., str]) -> None:
    path = write("FROM a", "RUN four")
    job = job_request({"name": "from-file", "entrypoint": "true", "containerfile": path})
    on(anyscale, lambda client: submitting.submit(client, job))
    service = service_request({"name": "of-file", "applications": [{"import_path": "m:app"}], "containerfile": path})
    on(anyscale, lambda client: submitting.deploy(client, service))
    builds = {
        next(one["body"] for one in anyscale.jobs() if one["name"] == "from-file")["config"]["build_id"],
        anyscale.services()["of-file"]["build_id"],
    }
    assert len(builds) == 1
    assert builds != {"bld_local"}, "the default image's"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["FROM a", "RUN exit 3"],
            r"could not build .* \(failed\): the line 'RUN exit 3' failed. Its log: http\S+/v2/",
        ),
        (["RUN true"], "Anyscale answered 400 to the build of .*: Invalid containerfile: it has no FROM"),
    ],
    ids=["fails", "no_from"],
)
def test_what_cannot_be_built_is_told(
    anyscale: Anyscale, write: Callable[..., str], lines: list[str], words: str
) -> None:
    with pytest.raises(AnyscaleRefused, match=words):
        on(anyscale, lambda client: image_of(client, write(*lines)))


def test_a_containerfile_that_is_not_there_is_told(anyscale: Anyscale) -> None:
    with pytest.raises(
        AnyscaleRefused, match=r"containerfile /nowhere/Dockerfile cannot be read on the worker: .*No such"
    ):
        on(anyscale, lambda client: image_of(client, "/nowhere/Dockerfile"))
