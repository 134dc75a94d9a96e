"""Decisions of the runner with a container engine: which engine, how variables are passed, how a container ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skylift.core.errors import Refused
from skylift.localcloud.containers.engine_runner import _how_ended, _mounts_of, _read_exit, _split, _write_exit, name_of
from skylift.localcloud.containers.mounts import Mount
from skylift.localcloud.containers.oci import ClientOutput, chosen_engine
from skylift.localcloud.containers.runner import CannotStart, Ended, Launch

pytestmark = pytest.mark.unit
ABOUT = {"ExitCode": 137, "FinishedAt": "2026-11-20T07:41:48.049948802Z", "OOMKilled": False}


@pytest.fixture
def path(tmp_path: Path) -> str:
    for kind in ("podman", "docker"):
        program = tmp_path / "bin" / kind
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return str(tmp_path / "bin")


def test_processes_unless_said_otherwise(tmp_path: Path, path: str) -> None:
    assert chosen_engine(tmp_path / "runner", {"PATH": path}) is None


def test_a_choice_is_remembered_until_another_one(tmp_path: Path, path: str) -> None:
    memory = tmp_path / "home" / "runner"
    for said, kind in (("podman", "podman"), ("", "podman"), ("docker", "docker"), ("", "docker"), ("process", "")):
        environ = {"PATH": path, **({"SKYLIFT_RUNNER": said} if said else {})}
        engine = chosen_engine(memory, environ)
        assert (engine.kind if engine else "") == kind


def test_an_engine_that_is_not_there_is_refused_and_not_remembered(tmp_path: Path) -> None:
    memory = tmp_path / "runner"
    with pytest.raises(Refused, match="there is no podman on the PATH"):
        chosen_engine(memory, {"PATH": str(tmp_path), "SKYLIFT_RUNNER": "podman"})
    with pytest.raises(Refused, match="expected process, podman or docker"):
        chosen_engine(memory, {"PATH": str(tmp_path), "SKYLIFT_RUNNER": "runc"})
    assert chosen_engine(memory, {"PATH": str(tmp_path)}) is None


def test_what_would_change_the_client_goes_by_file_and_the_rest_exactly() -> None:
    ours = {"A": "one\ntwo", "AWS_REGION": "x", "AIRFLOW_HOME": "/a"}
    clients = {"PATH": "/bin", "HOME": "/h", "https_proxy": "http://p", "DOCKER_HOST": "d", "CONTAINERS_CONF": "c"}
    assert _split({**ours, **clients}) == (ours, clients)
    with pytest.raises(CannotStart, match="a line break in PATH"):
        _split({"PATH": "/bin\n/sbin"})


def test_an_engine_gets_volumes_and_a_read_only_root(tmp_path: Path) -> None:
    mounts = (Mount(Path("/s"), "/t"), Mount(Path("/u"), "/v", True))
    plain = Launch(tmp_path, Path("/bin/true"), ("true",), {}, tmp_path)
    assert _mounts_of(plain, True) == []
    assert _mounts_of(replace(plain, mounts=mounts), False) == ["--volume", "/s:/t:rw", "--volume", "/u:/v:ro"]
    locked = replace(plain, read_only_root=True)
    assert _mounts_of(locked, False) == ["--read-only"]
    assert _mounts_of(locked, True) == ["--read-only", "--read-only-tmpfs=false"]


def test_two_clouds_never_share_a_name() -> None:
    assert name_of(Path("/one/containers/abc-0")) != name_of(Path("/two/containers/abc-0"))


def test_137_within_a_limit_is_memory_unless_we_killed(tmp_path: Path) -> None:
    assert not _how_ended(tmp_path, ABOUT).out_of_memory
    (tmp_path / "limited").touch()
    assert _how_ended(tmp_path, ABOUT) == Ended(137, 1795160508.049948, out_of_memory=True)
    assert not _how_ended(tmp_path, {**ABOUT, "ExitCode": 1}).out_of_memory
    (tmp_path / "killed").touch()
    assert not _how_ended(tmp_path, ABOUT).out_of_memory


@pytest.mark.parametrize("ended", [Ended(3, 1.5), Ended(None, 2.5), Ended(137, 3.5, out_of_memory=True)])
def test_how_it_ended_is_kept(tmp_path: Path, ended: Ended) -> None:
    assert _read_exit(tmp_path) is None
    _write_exit(tmp_path, ended)
    assert _read_exit(tmp_path) == ended


def test_the_engines_last_words_are_the_reason() -> None:
    assert ClientOutput(125, "", "warning: x\nError: no such image\n\n").reason == "no such image"
    assert ClientOutput(7, "", "").reason == "exit code 7"
