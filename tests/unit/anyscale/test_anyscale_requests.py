"""What an operator's parameters become, before anything is sent to Anyscale."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from skylift.anyscale.account import host_of
from skylift.anyscale.parameters import (
    number,
    requirement_lines,
    texts,
    truth,
    whole,
)
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable, refusal
from skylift.anyscale.watching import service_state
from skylift.anyscale.working_dir import package
from skylift.anyscale.workload import job_name

pytestmark = pytest.mark.unit


class Stored:
    """A connection's fields."""

    def __init__(self, host: str | None, schema: str | None = None, port: int | None = None) -> None:
        self.host, self.schema, self.port = host, schema, port


def test_templates_give_text_and_mean_numbers() -> None:
    assert number("poll_interval", "2.5") == 2.5
    assert whole("max_retries", "3") == 3
    assert [truth("wait", one) for one in (True, "True", "1", False, "False", "0", None)] == [
        *(True, True, True),
        *(False, False, False, False),
    ]
    assert texts("excludes", "['a', 'b']") == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "parse"),
    [("poll_interval", "soon", number), ("max_retries", "1.5", whole), ("wait", "perhaps", truth), ("x", "a", texts)],
)
def test_what_means_nothing_is_refused_before_anything_is_sent(name: str, value: str, parse: object) -> None:
    with pytest.raises(AnyscaleRefused, match=rf"^{name} is '{value}'.*Nothing was sent"):
        parse(name, value)  # type: ignore[operator]


def test_requirements_come_from_a_list_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# mine\nemoji==2.1\n\nsix\n")
    assert requirement_lines(["six"]) == ("six",)
    assert requirement_lines(str(file)) == ("emoji==2.1", "six")
    with pytest.raises(AnyscaleRefused, match="cannot be read on the worker: No such file"):
        requirement_lines(str(tmp_path / "none.txt"))


def test_a_job_has_the_same_name_whenever_its_task_instance_asks() -> None:
    instance = ("dag", "run", "task", -1, 1)
    name = job_name("primes", instance, findable=True)
    assert name == job_name("primes", instance, findable=True)
    assert name.startswith("primes-")
    assert len(name) == len("primes-") + 8
    others = [("dag", "run", "task", 0, 1), ("dag", "run", "task", -1, 2), ("dag", "run2", "task", -1, 1)]
    assert len({job_name("primes", one, findable=True) for one in [instance, *others]}) == 4
    assert job_name("primes", instance, findable=False) == "primes"
    assert job_name("", instance, findable=False).startswith("dag-task-")
    assert len(job_name("x" * 300, instance, findable=True)) == 100


def test_a_package_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    names = ("a.py", "data/big.bin", "sub/data/kept.bin", ".git/config", "__pycache__/a.pyc", "b.log", "keep.log")
    for name in (*names, "sub/.env", "sub/deep/.env", "sub/venv.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "sub" / ".gitignore").write_text("# passwords\n.env\n")
    excludes = ("/data/", "*.log", "!keep.log", "**/.gitignore")
    first = package(str(tmp_path), excludes)
    os.utime(tmp_path / "a.py", (1, 1))
    assert package(str(tmp_path), excludes) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        found = [name.removeprefix("working_dir/") for name in archive.namelist()]
    assert sorted(found) == ["a.py", "keep.log", "sub/data/kept.bin", "sub/venv.py"]
    assert package(str(tmp_path), ()) != first


def test_a_working_dir_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnyscaleRefused, match="is no folder on the worker"):
        package(str(tmp_path / "none"), ())
    with pytest.raises(AnyscaleRefused, match="has no files"):
        package(str(tmp_path), ())


@pytest.mark.parametrize(
    ("stored", "host"),
    [
        (Stored(None), "https://console.anyscale.com"),
        (Stored("https://own.example.com/"), "https://own.example.com"),
        (Stored("own.example.com"), "https://own.example.com"),
        (Stored("127.0.0.1", "http", 8080), "http://127.0.0.1:8080"),
        (Stored("http://127.0.0.1:8080"), "http://127.0.0.1:8080"),
    ],
)
def test_the_host_of_a_connection(stored: Stored, host: str) -> None:
    assert host_of(stored) == host


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not know this API key"),
        (403, "may not do that"),
        (404, "does not have it"),
        (422, "does not take these values"),
        (302, "Is the connection's host right"),
        (418, "Change the request"),
    ],
)
def test_refusals_say_what_to_do(status: int, words: str) -> None:
    found = refusal("the question for job j", status, b'{"error": {"detail": "No."}}')
    assert isinstance(found, AnyscaleRefused)
    assert found.status == status
    assert str(found).startswith(f"Anyscale answered {status} to the question for job j: No. ")
    assert words in str(found)


def test_troubles_of_anyscale_pass() -> None:
    slow = refusal("x", 429, b"", "7")
    assert isinstance(slow, AnyscaleUnavailable)
    assert (slow.wait, slow.throttled) == (7.0, True)
    away = refusal("x", 503, b"<html>gateway</html>")
    assert isinstance(away, AnyscaleUnavailable)
    assert "html" not in str(away)
    assert not away.throttled


def test_a_rollout_is_not_over_while_the_old_version_runs() -> None:
    old = {"current_state": "RUNNING", "primary_version": {"id": "v1"}}
    new = {"current_state": "RUNNING", "primary_version": {"id": "v2"}}
    part = {"current_state": "ROLLING_OUT", "canary_version": {"id": "v2", "current_state": "RUNNING"}}
    assert service_state(old, "v2", canary=False) == "ROLLING_OUT"
    assert service_state(new, "v2", canary=False) == "RUNNING"
    assert service_state(part, "v2", canary=True) == "RUNNING"
    assert service_state(part, "v2", canary=False) == "ROLLING_OUT"
