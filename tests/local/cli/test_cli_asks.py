"""Questions to a running server: stops that would interrupt work, options that come too late, ports that are taken."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.at_terminal import at_terminal
from tests.stack import SKYLIFT, Stack, running

pytestmark = [pytest.mark.local, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A skylift that this module may stop. It makes no environment, so it builds no image."""
    with running(tmp_path_factory.mktemp("asks") / "home") as started:
        yield started


def another(own: Stack, home: Path, **more: str) -> Stack:
    return Stack(home, own.environ | {"SKYLIFT_HOME": str(home)} | more)


def state(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.run("status", "--json").stdout)
    return found


def sleeper(stack: Stack) -> Any:
    """Starts an ECS task that sleeps; the ECS client."""
    stack.must("image", "add", "asks/app:1")
    ecs = stack.client("ecs")
    ecs.create_cluster(clusterName="mine")
    ecs.register_task_definition(
        family="sleeper",
        containerDefinitions=[{"name": "main", "image": "asks/app:1", "memory": 64, "command": ["sleep", "600"]}],
    )
    ecs.run_task(
        cluster="mine",
        taskDefinition="sleeper",
        tags=[{"key": key, "value": f"my {key}"} for key in ("dag_id", "run_id", "task_id")],
    )
    ecs.run_task(cluster="mine", taskDefinition="sleeper")
    return ecs


def test_down_says_what_it_cuts_off_and_asks_at_a_terminal(own: Stack) -> None:
    sleeper(own)
    with at_terminal(SKYLIFT, "down", environ=own.environ) as typed:
        typed.until("Stop it? [y/N]")
        assert "run my run_id of my dag_id: 1 Airflow task (my task_id)" in typed.shown
        assert "1 ECS task of sleeper" in typed.shown
        typed.type("n\n")
        assert typed.end() == 1
    assert "Nothing was stopped" in typed.shown
    assert state(own)["running"]
    with at_terminal(SKYLIFT, "down", environ=own.environ) as typed:
        typed.until("Stop it? [y/N]")
        typed.interrupt()
        assert typed.end() == 130
    assert "Nothing was stopped" in typed.shown
    assert state(own)["running"]


@pytest.mark.parametrize("way", ["a script", "--yes", "y"])
def test_down_goes_on_for_a_script_and_for_who_has_agreed(own: Stack, way: str) -> None:
    if not state(own)["running"]:
        own.must("up")
    sleeper(own)
    if way == "a script":
        done = own.run("down")
        assert done.returncode == 0
        assert re.search(r"\d ECS tasks? of sleeper", done.stderr)
    else:
        with at_terminal(SKYLIFT, "down", *(["--yes"] if way == "--yes" else []), environ=own.environ) as typed:
            if way == "y":
                typed.until("Stop it? [y/N]")
                typed.type("y\n")
            assert typed.end() == 0
        assert re.search(r"\d ECS tasks? of sleeper", typed.shown)
        assert ("Stop it?" in typed.shown) == (way == "y")
    assert not state(own)["running"]


def test_down_does_not_ask_when_nothing_is_cut_off(own: Stack) -> None:
    own.must("up")
    with at_terminal(SKYLIFT, "down", environ=own.environ) as typed:
        assert typed.end() == 0
    assert "Stop it?" not in typed.shown
    own.must("up")


@pytest.mark.parametrize(
    ("words", "more", "told"),
    [
        (["--runner", "podman"], {}, "its containers are run by process"),
        ([], {"SKYLIFT_RUNNER": "docker"}, "its containers are run by process"),
        (["--port", "1"], {}, "runs already, on port"),
        ([], {"SKYLIFT_PORT": "1"}, "runs already, on port"),
    ],
)
def test_an_option_that_a_running_server_cannot_take_is_refused(
    own: Stack, words: list[str], more: dict[str, str], told: str
) -> None:
    refused = another(own, own.home, **more).run("up", *words)
    assert refused.returncode == 1
    assert told in refused.stderr
    assert "skylift down && " in refused.stderr
    assert state(own)["running"]


def test_an_option_that_says_what_is_so_already_is_taken(own: Stack) -> None:
    port = state(own)["endpoint"].rpartition(":")[2]
    assert "runs already" in own.run("up", "--runner", "process", "--port", port).stderr


def test_a_port_that_nobody_named_gives_way(own: Stack, tmp_path: Path) -> None:
    other = another(own, tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (other.home / "aws").mkdir(parents=True)
        (other.home / "aws" / "config").write_text(f"[default]\nendpoint_url = http://127.0.0.1:{port}\n")
        try:
            told = other.run("up")
            assert told.returncode == 0, told.stderr
            assert f"port {port} is taken by another program: this skylift has port" in told.stderr
            assert "shellenv" in told.stderr
            assert state(other)["endpoint"] != f"http://127.0.0.1:{port}"
        finally:
            other.run("down")


def test_whose_the_port_is_is_said_without_placeholders(own: Stack, tmp_path: Path) -> None:
    port = state(own)["endpoint"].rpartition(":")[2]
    refused = another(own, tmp_path / "home").run("up", "--port", port)
    assert refused.returncode == 1
    assert f"Another skylift (home {own.home}, pid {state(own)['pid']})" in refused.stderr
    assert f"SKYLIFT_HOME={own.home} " in refused.stderr
    assert re.search(r"--port \d+ is free", refused.stderr)
    assert not re.search(r"\b[A-Z]+_[A-Z]+\b", refused.stderr.replace("SKYLIFT_HOME", "")), refused.stderr


def test_the_cloud_alone_says_how_to_end_the_one_that_has_its_folder(own: Stack) -> None:
    refused = Stack(own.home, {name: value for name, value in own.environ.items() if name != "SKYLIFT_HOME"}).run(
        "cloud", "--home", str(own.home)
    )
    assert refused.returncode == 1
    assert f"SKYLIFT_HOME={own.home} " in refused.stderr
    assert "skylift down" in refused.stderr


def test_a_start_that_was_left_goes_on_and_can_be_ended_or_waited_for(own: Stack, tmp_path: Path) -> None:
    other = another(own, tmp_path / "home", SKYLIFT_PORT="")
    with at_terminal(SKYLIFT, "up", environ=other.environ) as typed:
        typed.until("starting the server")
        typed.interrupt()
        assert typed.end() == 130
    assert "is still starting in the background" in typed.shown
    assert f"{SKYLIFT} status" in typed.shown
    try:
        done = other.run("up")
        assert done.returncode == 0, done.stderr
        assert "runs already" in done.stderr
    finally:
        other.must("down")
    with at_terminal(SKYLIFT, "up", environ=other.environ) as typed:
        typed.until("starting the server")
        typed.interrupt()
        assert typed.end() == 130
    assert "skylift stopped" in other.run("down").stderr
    assert not state(other)["running"]


def test_a_server_that_is_silent_for_a_while_is_waited_for(own: Stack) -> None:
    pid = int(state(own)["pid"])
    os.kill(pid, signal.SIGSTOP)
    asking = subprocess.Popen([str(SKYLIFT), "env", "list"], env=own.environ, stderr=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(4)  # longer than one try
    finally:
        os.kill(pid, signal.SIGCONT)
    assert asking.wait(120) == 0, asking.stderr.read() if asking.stderr else ""
