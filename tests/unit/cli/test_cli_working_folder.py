"""The environment that a command means without being told: the working folder's project, else the only one."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.cli.projects.working_folder import named
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit


def project(folder: Path, text: str | None = None) -> Path:
    (folder / "dags").mkdir(parents=True)
    if text is not None:
        (folder / "skylift.toml").write_text(text)
    return folder


def test_skylift_toml_in_the_folder_or_above_it_names_the_environment(tmp_path: Path) -> None:
    shop = project(tmp_path / "work", 'name = "shop"')
    for here in (shop, shop / "dags"):
        assert named(here, ["other", "shop"], {}) == "shop"
    assert named(tmp_path, ["other", "shop"], {}) is None


def test_the_nearest_project_counts(tmp_path: Path) -> None:
    outer = project(tmp_path / "outer", 'name = "outer"')
    inner = project(outer / "inner", 'name = "inner"')
    assert named(inner / "dags", ["inner", "outer"], {}) == "inner"
    assert named(outer, ["inner", "outer"], {}) == "outer"


def test_without_a_name_in_the_file_it_is_the_folders_name(tmp_path: Path) -> None:
    assert named(project(tmp_path / "shop", ""), ["other", "shop"], {}) == "shop"
    assert named(project(tmp_path / "no one", ""), ["other", "shop"], {}) is None
    assert named(project(tmp_path / "broken", "name = "), ["broken", "shop"], {}) == "broken"


def test_a_folder_without_the_file_means_what_was_made_from_it(tmp_path: Path) -> None:
    plain = project(tmp_path / "plain")
    assert named(plain / "dags", ["made", "other"], {"made": plain}) == "made"
    assert named(plain, ["other"], {"made": plain}) is None


def test_an_environment_with_another_name_than_the_file_says_is_found(tmp_path: Path) -> None:
    shop = project(tmp_path / "shop", 'name = "shop"')
    assert named(shop, ["preview"], {"preview": shop}) == "preview"
    assert named(shop, ["preview", "shop"], {"preview": shop}) == "shop"


def test_what_is_not_clear_is_refused_and_never_another_environment(tmp_path: Path) -> None:
    shop = project(tmp_path / "shop", 'name = "shop"')
    with pytest.raises(Refused, match=r"no environment shop, which .*skylift\.toml names\. There are: production\."):
        named(shop, ["production"], {})
    with pytest.raises(Refused, match="one, two were made from"):
        named(shop, ["one", "two"], {"one": shop, "two": shop})
