"""A project folder: what is copied to the bucket, what is not, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.cli.projects.project import (
    Project,
    belongs,
    changed_contents,
    contents,
    digest,
    open_project,
    plan_sync,
    zip_folder,
)
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "My project"
    for name in ("dags/sub", "dags/__pycache__", "dags/.git", "plugins", "data"):
        (root / name).mkdir(parents=True)
    for name in (
        "dags/one.py",
        "dags/sub/two.py",
        "dags/__pycache__/one.pyc",
        "dags/.git/config",
        "dags/.one.py.swp",
        "dags/one.py~",
        "dags/4913",
        "plugins/page.py",
        "data/table.csv",
        "requirements.txt",
        "README.md",
    ):
        (root / name).write_text(name)
    return root


def test_what_belongs_travels_and_nothing_else(folder: Path) -> None:
    found = contents(open_project(folder))
    assert sorted(found) == ["dags/one.py", "dags/sub/two.py", "data/table.csv", "plugins.zip", "requirements.txt"]
    assert found["dags/one.py"] == b"dags/one.py"


def test_name_and_bucket_come_from_the_folder(folder: Path) -> None:
    project = open_project(folder)
    assert (project.name, project.bucket) == ("My-project", "skylift-my-project")
    assert open_project(folder, "a_B").bucket == "skylift-a-b"


@pytest.mark.parametrize("name", ["1st", "-x", "a" * 56, "a b", "a-"])
def test_a_name_that_no_environment_may_have_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(Refused, match="--name"):
        open_project(folder, name)


def test_a_folder_without_dags_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no folder dags/"):
        open_project(tmp_path)
    with pytest.raises(Refused, match="There is no folder"):
        open_project(tmp_path / "nowhere")


def test_two_kinds_of_plugins_are_refused(folder: Path) -> None:
    (folder / "plugins.zip").write_bytes(b"x")
    with pytest.raises(Refused, match=r"both plugins/ and plugins\.zip"):
        open_project(folder)


def test_the_zip_is_the_same_bytes_for_the_same_files(folder: Path, tmp_path: Path) -> None:
    before = zip_folder(folder / "plugins")
    (folder / "plugins" / "page.py").touch()
    assert zip_folder(folder / "plugins") == before
    (folder / "plugins" / "page.py").write_text("other")
    assert zip_folder(folder / "plugins") != before


def test_only_what_differs_is_put_and_only_what_was_ours_is_removed() -> None:
    local = {"dags/same.py": b"1", "dags/new.py": b"2", "dags/changed.py": b"3"}
    remote = {
        "dags/same.py": digest(b"1"),
        "dags/changed.py": digest(b"old"),
        "dags/gone.py": "x",
        "dags/somebody-else.py": "y",
    }
    todo = plan_sync(local, remote, ours=["dags/gone.py", "dags/never-arrived.py"])
    assert todo.put == ("dags/new.py", "dags/changed.py")
    assert todo.remove == ("dags/gone.py",)


def test_a_changed_plugin_means_a_new_zip_and_a_gone_file_means_none(folder: Path) -> None:
    project = open_project(folder)
    changed = changed_contents(
        project,
        [folder / "plugins/page.py", folder / "dags/gone.py", folder / "README.md", folder / "dags/.x.swp"],
    )
    assert set(changed) == {"plugins.zip", "dags/gone.py"}
    assert changed["dags/gone.py"] is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dags/a.py", True),
        ("dags/deep/er/a.sql", True),
        ("data/x.csv", True),
        ("plugins/p.py", True),
        ("requirements.txt", True),
        ("dags/requirements.txt", True),
        ("notes/requirements.txt", False),
        ("dags/__pycache__/a.cpython-311.pyc", False),
        ("dags/.git/index.lock", False),
        ("dags/.#a.py", False),
        ("dags/a.py.swp", False),
        ("dags/a.py___jb_tmp___", False),
        ("README.md", False),
    ],
)
def test_what_belongs(path: str, expected: bool) -> None:
    project = Project(Path("/p"), "p")
    assert belongs(project, Path("/p") / path) is expected
    assert not belongs(project, Path("/elsewhere") / path)


def test_a_strange_file_stays_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = open_project(folder)
    before, plugins = contents(project), zip_folder(folder / "plugins")
    strange = [b"dags/latin-\xe4.py", b"dags/new\nline.py", b"plugins/latin-\xe4.py"]
    for name in strange:
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_text("x = 1")
    os.mkfifo(folder / "dags" / "pipe.py")
    (folder / "dags" / "dangling.py").symlink_to("nowhere.py")
    assert contents(project) == before
    assert zip_folder(folder / "plugins") == plugins
    assert ["latin-" in line or "line.py" in line for line in caplog.messages] == [True] * len(caplog.messages)
    assert len(caplog.messages) >= len(strange)
    assert changed_contents(project, [folder / "dags" / "new\nline.py", folder / "dags"]) == {
        key: body for key, body in before.items() if key.startswith("dags/")
    }
