"""A followed folder: saves, editors' renames and deletions reach the bucket; one project's end leaves the others
alone."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from skylift.cli.home import Home
from skylift.cli.projects import buckets
from skylift.cli.projects.follower import Follower
from skylift.cli.projects.project import Project, digest, open_project

pytestmark = pytest.mark.unit


class S3:
    """Buckets in memory."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.failing = 0

    def get_paginator(self, operation: str) -> S3:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str) -> list[dict[str, Any]]:
        items = [{"Key": k, "ETag": f'"{digest(body)}"'} for (b, k), body in self.objects.items() if b == Bucket]
        return [{"Contents": items}]

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if (Bucket, Key) not in self.objects:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")  # type: ignore[typeddict-item]
        return {"ETag": f'"{digest(self.objects[Bucket, Key])}"'}

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        if self.failing:
            self.failing -= 1
            raise ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")  # type: ignore[typeddict-item]
        self.objects[Bucket, Key] = Body

    def delete_object(self, Bucket: str, Key: str) -> None:
        del self.objects[Bucket, Key]


class Ground:
    """A home with two projects on record."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.prepare()
        self.s3 = S3()
        self.projects: list[Project] = []
        for name in ("one", "two"):
            (folder / name / "dags").mkdir(parents=True)
            (folder / name / "dags" / "a.py").write_text("1")
            project = open_project(folder / name)
            buckets.remember(self.home, project, [])
            self.projects.append(project)

    def body(self, project: Project, key: str) -> bytes | None:
        return self.s3.objects.get((project.bucket, key))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it never came true"
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


def following(ground: Ground, story: Callable[[], Any]) -> None:
    async def play() -> None:
        follower = Follower(ground.home, ground.s3, lambda text: None)
        running = asyncio.create_task(follower.run())
        try:
            await until(lambda: all(ground.body(project, "dags/a.py") == b"1" for project in ground.projects))
            await story()
        finally:
            follower.stop()
            await running

    asyncio.run(play())


def test_saves_renames_and_deletions_arrive_within_a_second(ground: Ground) -> None:
    project = ground.projects[0]
    dags = project.folder / "dags"

    async def story() -> None:
        (dags / "b.py").write_text("2")
        assert await until(lambda: ground.body(project, "dags/b.py") == b"2") < 1.0
        (dags / ".b.py.swp").write_text("3")
        os.rename(dags / ".b.py.swp", dags / "b.py")
        assert await until(lambda: ground.body(project, "dags/b.py") == b"3") < 1.0
        (dags / "b.py").unlink()
        assert await until(lambda: ground.body(project, "dags/b.py") is None) < 1.0
        assert {key for _, key in ground.s3.objects} == {"dags/a.py"}

    following(ground, story)
    assert buckets.followed(ground.home)["one"].keys == ("dags/a.py",)


def test_forgetting_one_project_leaves_the_other_followed(ground: Ground) -> None:
    one, two = ground.projects

    async def story() -> None:
        buckets.forget(ground.home, one.name)
        await until(lambda: f"follow-{one.name}" not in {running.get_name() for running in asyncio.all_tasks()})
        (one.folder / "dags" / "c.py").write_text("5")
        (two.folder / "dags" / "c.py").write_text("4")
        await until(lambda: ground.body(two, "dags/c.py") == b"4")
        assert ground.body(one, "dags/c.py") is None

    following(ground, story)


def test_whole_folders_come_and_go(ground: Ground, tmp_path: Path) -> None:
    project = ground.projects[0]
    dags = project.folder / "dags"
    package = tmp_path / "package"
    (package / "deep").mkdir(parents=True)
    (package / "deep" / "b.py").write_text("2")
    (package / "c.py").write_text("3")

    async def story() -> None:
        package.rename(dags / "package")
        await until(lambda: ground.body(project, "dags/package/deep/b.py") == b"2")
        await until(lambda: ground.body(project, "dags/package/c.py") == b"3")
        (dags / "package").rename(package)
        await until(lambda: {key for bucket, key in ground.s3.objects if bucket == project.bucket} == {"dags/a.py"})

    following(ground, story)
    assert buckets.followed(ground.home)["one"].keys == ("dags/a.py",)


def test_a_file_that_becomes_a_folder_is_both_gone_and_come(ground: Ground) -> None:
    project = ground.projects[0]
    path = project.folder / "dags" / "a.py"
    buckets.sync(ground.s3, ground.home, project)
    path.unlink()
    path.mkdir()
    (path / "b.py").write_text("2")
    buckets.sync_paths(ground.s3, ground.home, project, {path})
    assert ground.body(project, "dags/a.py") is None
    assert ground.body(project, "dags/a.py/b.py") == b"2"
    (path / "b.py").unlink()
    path.rmdir()
    path.write_text("1")
    buckets.sync_paths(ground.s3, ground.home, project, {path})
    assert {key for bucket, key in ground.s3.objects if bucket == project.bucket} == {"dags/a.py"}


def test_a_refusing_bucket_is_tried_again(ground: Ground) -> None:
    project = ground.projects[1]

    async def story() -> None:
        ground.s3.failing = 1
        (project.folder / "dags" / "d.py").write_text("6")
        await until(lambda: ground.body(project, "dags/d.py") == b"6")

    following(ground, story)
    assert ground.s3.failing == 0


def test_a_file_that_an_environment_pins_is_told_as_soon_as_it_is_saved(ground: Ground) -> None:
    project = ground.projects[0]
    said: list[str] = []
    asked: list[str] = []

    def changed(of: Project) -> None:
        asked.append(of.name)

    async def play() -> None:
        follower = Follower(ground.home, ground.s3, said.append, changed)
        running = asyncio.create_task(follower.run())
        try:
            await until(lambda: ground.body(project, "dags/a.py") == b"1", 60)
            for name in ("requirements.txt", "startup.sh"):
                before = len(asked)
                (project.folder / name).write_text("x")
                await until(lambda before=before: len(asked) > before, 60)
            (project.folder / "plugins").mkdir()
            (project.folder / "plugins" / "p.py").write_text("x")
            await until(lambda: ground.body(project, "plugins.zip") is not None and len(asked) >= 3, 60)
            (project.folder / "dags" / "a.py").write_text("2")
            await until(lambda: ground.body(project, "dags/a.py") == b"2", 60)
        finally:
            follower.stop()
            await running

    asyncio.run(play())
    assert asked == ["one"] * 3
    assert said[-1] == "one: put dags/a.py", "a DAG is applied by itself"
