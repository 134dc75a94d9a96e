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
    linked_folders,
    open_project,
    plan_sync,
    through_links,
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


def test_the_layout_of_the_local_runner(folder: Path) -> None:
    (folder / "requirements.txt").unlink()
    for place in ("requirements/requirements.txt", "startup_script/startup.sh"):
        (folder / place).parent.mkdir()
        (folder / place).write_text(place)
    project = open_project(folder)
    found = contents(project)
    assert found["requirements.txt"] == b"requirements/requirements.txt"
    assert found["startup.sh"] == b"startup_script/startup.sh"
    assert project.remarks() == [
        "requirements/requirements.txt is used as requirements.txt",
        "startup_script/startup.sh is used as startup.sh",
    ]
    saved = folder / "requirements" / "requirements.txt"
    assert belongs(project, saved)
    assert not belongs(project, folder / "requirements" / "dev.txt")
    assert changed_contents(project, [saved]) == {"requirements.txt": b"requirements/requirements.txt"}
    saved.unlink()
    assert changed_contents(project, [saved]) == {"requirements.txt": None}
    (folder / "requirements.txt").write_text("at the top")
    assert changed_contents(project, [saved.parent]) == {"requirements.txt": b"at the top"}
    assert contents(project)["requirements.txt"] == b"at the top"


def test_a_folder_in_which_nothing_was_found_says_so(tmp_path: Path) -> None:
    (tmp_path / "p" / "dags").mkdir(parents=True)
    (tmp_path / "p" / "dags" / "notes.md").write_text("x")
    project = open_project(tmp_path / "p")
    (said,) = project.remarks()
    assert said == f"{tmp_path / 'p' / 'dags'} holds no Python file: Airflow will show no DAG"
    (tmp_path / "p" / "dags" / "one.py").write_text("x")
    assert project.remarks() == []


def test_links_are_followed_but_never_in_a_circle(folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "inner").mkdir(parents=True)
    (shared / "common.py").write_text("common")
    (shared / "inner" / "deep.py").write_text("deep")
    (folder / "dags" / "linked").symlink_to(shared)
    (folder / "dags" / "alone.py").symlink_to(shared / "common.py")
    (folder / "dags" / "gone.py").symlink_to(tmp_path / "nowhere")
    (shared / "back").symlink_to(shared)
    (folder / "dags" / "up").symlink_to(folder)
    project = open_project(folder)
    found = contents(project)
    assert sorted(key for key in found if key.startswith("dags/")) == [
        "dags/alone.py",
        "dags/linked/common.py",
        "dags/linked/inner/deep.py",
        "dags/one.py",
        "dags/sub/two.py",
    ]
    links = linked_folders(project)
    assert links == {shared: [folder / "dags" / "linked"]}
    deep = folder / "dags" / "linked" / "inner" / "deep.py"
    assert through_links(links, shared / "inner" / "deep.py") == {deep, shared / "inner" / "deep.py"}
    assert [belongs(project, one) for one in (deep, shared / "inner" / "deep.py")] == [True, False]
    assert changed_contents(project, [deep]) == {"dags/linked/inner/deep.py": b"deep"}
    assert through_links(links, folder / "dags" / "one.py") == {folder / "dags" / "one.py"}


def test_a_folder_to_which_several_links_lead_changes_in_all_of_them(tmp_path: Path) -> None:
    folder, shared = tmp_path / "mine", tmp_path / "shared"
    for place in (folder / "dags" / "own", folder / "plugins", shared):
        place.mkdir(parents=True)
    (folder / "dags" / "linked").symlink_to(shared)
    (folder / "plugins" / "linked").symlink_to(shared)
    (folder / "plugins" / "own").symlink_to(folder / "dags" / "own")
    for changed in (shared / "a.py", folder / "dags" / "own" / "b.py"):
        changed.write_text("new")
    project = open_project(folder)
    links = linked_folders(project)
    for changed, key in ((shared / "a.py", "dags/linked/a.py"), (folder / "dags" / "own" / "b.py", "dags/own/b.py")):
        found = changed_contents(project, through_links(links, changed))
        assert set(found) == {key, "plugins.zip"}
        assert found[key] == b"new"
