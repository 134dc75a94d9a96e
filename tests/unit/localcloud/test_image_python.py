"""Which Python images have: skylift's own if it is new enough, otherwise a newer one that is whole and answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from skylift.core.errors import Refused
from skylift.localcloud.images.pythons import SUPPORTED, ImagePython, image_python

pytestmark = pytest.mark.unit
OLD = ImagePython("cpython", "3.11.9", "linux-x86_64", Path("/usr/bin/python3.11"))


def program(
    path: Path, version: str, *, implementation: str = "cpython", threaded: bool = False, code: int = 0
) -> Path:
    """A program that says this of itself, or fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = json.dumps([implementation, version, "linux-x86_64", str(path), threaded])
    path.write_text("#!/bin/sh\n" + (f"exit {code}\n" if code else f"echo '{said}'\n"))
    path.chmod(0o755)
    return path


def test_a_new_enough_one_of_skylift_s_own_is_taken_whatever_else_there_is(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "python3.12", "3.12.9")
    own = ImagePython("cpython", "3.13.1", "linux-x86_64", Path("/usr/bin/python3.13"))
    assert image_python({"PATH": str(tmp_path / "bin")}, own) == own


def test_an_older_one_gives_way_to_3_12_before_3_13(tmp_path: Path) -> None:
    newer = program(tmp_path / "bin" / "python3.13", "3.13.1")
    assert image_python({"PATH": str(tmp_path / "bin")}, OLD).path == newer
    wanted = program(tmp_path / "bin" / "python3.12", "3.12.9")
    assert image_python({"PATH": str(tmp_path / "bin")}, OLD).path == wanted


@pytest.mark.parametrize(
    ("where", "variables"),
    [
        (".pyenv/versions/3.12.4/bin", {"HOME": "{}"}),
        ("pyenv/versions/3.12.4/bin", {"PYENV_ROOT": "{}/pyenv"}),
        (".local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin", {"HOME": "{}"}),
        ("data/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin", {"XDG_DATA_HOME": "{}/data"}),
        ("mine/cpython-3.12.4-linux-x86_64-gnu/bin", {"UV_PYTHON_INSTALL_DIR": "{}/mine"}),
    ],
)
def test_uv_s_and_pyenv_s_own_folders_are_looked_at(tmp_path: Path, where: str, variables: dict[str, str]) -> None:
    wanted = program(tmp_path / where / "python3.12", "3.12.4")
    environ = {name: value.format(tmp_path) for name, value in variables.items()}
    assert image_python(environ, OLD).path == wanted


def test_one_that_lacks_something_is_free_threaded_or_is_another_is_passed_over(tmp_path: Path) -> None:
    one, two, three, four = (tmp_path / str(number) / "python3.12" for number in range(4))
    program(one, "3.12.9", code=1)
    program(two, "3.12.9", threaded=True)
    program(three, "3.12.9", implementation="pypy")
    program(four, "3.11.9")
    assert image_python({"PATH": ":".join(str(path.parent) for path in (one, two, three, four))}, OLD) == OLD


def test_the_one_that_is_named_is_taken_or_refused(tmp_path: Path) -> None:
    mine = image_python({"SKYLIFT_IMAGE_PYTHON": sys.executable})
    assert (mine.minor, mine.minor in SUPPORTED) == (sys.version_info[:2], True)
    with pytest.raises(Refused, match=r"SKYLIFT_IMAGE_PYTHON: /nowhere is not a whole Python 3\.11, 3\.12, 3\.13"):
        image_python({"SKYLIFT_IMAGE_PYTHON": "/nowhere"})
    with pytest.raises(Refused, match="Name another"):
        image_python({"SKYLIFT_IMAGE_PYTHON": str(program(tmp_path / "python3.14", "3.14.0"))})


def test_skylift_on_another_python_says_what_to_do() -> None:
    with pytest.raises(Refused, match=r"Python 3\.14\.0 runs skylift, but images need one of 3\.11, 3\.12, 3\.13"):
        image_python({}, ImagePython("cpython", "3.14.0", "linux-x86_64", Path("/usr/bin/python3.14")))
