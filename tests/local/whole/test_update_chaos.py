"""kill -9 at random moments of updates: each ends with the old or the new configuration whole, never between.

The seed and the victims are printed. ``make test-soak`` kills forty times; here it is six. A round without a victim fails.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.local.whole.test_environment_updates import COMPONENTS, until
from tests.local.whole.test_survival import server_pid
from tests.stack import Stack, running

from skylift.localcloud.postgres import postmaster

pytestmark = [pytest.mark.local, pytest.mark.timeout(5400)]
NAME = "chaos"
OPTION = "core.default_timezone"
ZONES = ("Europe/Berlin", "Asia/Tokyo")
SEED = int(os.environ.get("SKYLIFT_TEST_SEED", "20261130"))
DAG = "from airflow.sdk import DAG\nwith DAG('one'):\n    pass\n"
VICTIMS = ("server", "postgres", "layer", "proof", "new part", "server")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("chaos")
    (folder / NAME / "dags").mkdir(parents=True)
    (folder / NAME / "dags" / "one.py").write_text(DAG)
    (folder / NAME / "requirements.txt").write_text("pyjokes==0.6.0\n")
    with running(folder / "home") as started:
        started.must("up", str(folder / NAME), "--no-apply")
        yield started


@pytest.mark.long
def test_six_kills(own: Stack) -> None:
    assert [killed(own, victim, turn) for turn, victim in enumerate(VICTIMS)] == ["whole"] * len(VICTIMS)


@pytest.mark.soak
def test_forty_kills(own: Stack) -> None:
    dice = random.Random(SEED)
    assert [killed(own, dice.choice(VICTIMS), turn) for turn in range(40)] == ["whole"] * 40


def killed(stack: Stack, victim: str, turn: int) -> str:
    """One update, one kill, and what the environment is afterwards: "whole", or what is wrong."""
    dice = random.Random(SEED * 1000 + turn)
    mwaa, s3 = stack.client("mwaa"), stack.client("s3")
    before = mwaa.get_environment(Name=NAME)["Environment"]
    zone = next(one for one in ZONES if one != before.get("AirflowConfigurationOptions", {}).get(OPTION))
    bucket = before["SourceBucketArn"].rpartition(":")[2]
    body = f"pyjokes=={dice.choice(['0.6.0', '0.7.2', '0.8.3'])}\n# {turn}\n".encode()
    version = s3.put_object(Bucket=bucket, Key="requirements.txt", Body=body)["VersionId"]
    begun = time.time()
    mwaa.update_environment(
        Name=NAME,
        AirflowConfigurationOptions={OPTION: zone},
        RequirementsS3Path="requirements.txt",
        RequirementsS3ObjectVersion=version,
    )
    patience = dice.uniform(0, 6)
    # With one client: a client of its own for each look takes longer than a layer's builder lives.
    pid = found(
        lambda: _pid(stack, victim, begun),
        lambda: mwaa.get_environment(Name=NAME)["Environment"]["Status"] == "UPDATING",
    )
    if not pid:
        return f"{victim}: the update ended before anything could be killed"
    time.sleep(patience if victim in {"server", "postgres"} else min(patience, 1.0))
    _kill(pid)
    print(f"seed {SEED}, turn {turn}: {victim}, pid {pid}, after {time.time() - begun:.1f} s")
    if victim == "server":
        stack.must("up")
    until(lambda: _status(stack) not in {"", "UPDATING", "ROLLING_BACK"}, 1200)
    after = mwaa.get_environment(Name=NAME)["Environment"]
    wanted = (zone, version)
    was = (before.get("AirflowConfigurationOptions", {}).get(OPTION), before["RequirementsS3ObjectVersion"])
    now = (after["AirflowConfigurationOptions"].get(OPTION), after["RequirementsS3ObjectVersion"])
    good = after["LastUpdate"]["Status"] == "SUCCESS"
    if (after["Status"], now) != (("AVAILABLE", wanted) if good else ("UPDATE_FAILED", was)):
        return f"{victim}: {after['Status']} {now}, was {was}, wanted {wanted}: {after['LastUpdate']}"
    until(lambda: not stack.airflow(NAME).unhealthy(), 600)
    layers = {_layer(stack, role) for role in COMPONENTS}
    return "whole" if len(layers) == 1 else f"{victim}: components run with different layers: {layers}"


def found(look: Callable[[], int], goes_on: Callable[[], bool]) -> int:
    """The first process that a look finds while the update goes on; 0 when there was none."""
    while not (pid := look()) and goes_on():
        time.sleep(0.02)
    return pid


def _pid(stack: Stack, victim: str, begun: float) -> int:
    if victim == "server":
        return server_pid(stack)
    if victim == "postgres":
        master = postmaster.find(stack.home / "postgres" / "data")
        return master.pid if master else 0
    if victim == "new part":
        return next(iter(_new_parts(stack, begun)), 0)
    words = {"layer": ("build-layer",), "proof": ("skylift.runtime.trial", "prove")}[victim]
    return next(iter(_ours(stack.home, words)), 0)


def _new_parts(stack: Stack, begun: float) -> list[int]:
    """First processes of the containers that services have started since."""
    ecs: Any = stack.client("ecs")
    arns = ecs.list_tasks(cluster="skylift")["taskArns"]
    pids = []
    for task in ecs.describe_tasks(cluster="skylift", tasks=arns)["tasks"] if arns else []:
        file = stack.home / "cloud" / "containers" / f"{task['taskArn'].rsplit('/', 1)[-1][:12]}-0" / "pid"
        if task["group"].startswith("service:") and task["createdAt"].timestamp() > begun and file.is_file():
            pid = int(file.read_text().split()[2])
            pids += [pid] if psutil.pid_exists(pid) else []
    return pids


def _ours(home: Path, words: tuple[str, ...]) -> list[int]:
    """Processes of this home's containers whose command has one of the words. (Those of earlier updates have ended; the
    time when a process began is up to a second wrong, and a builder that began at once would be taken for an old one.)
    """
    pids = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if not any(word in " ".join(process.info["cmdline"] or ()) for word in words):
            continue
        try:
            # Not its environment: what was forked from a template shows the template's.
            if Path(process.cwd()).is_relative_to(home):
                pids.append(int(process.info["pid"]))
        except psutil.Error:
            continue
    return pids


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        print("it had ended by itself")


def _status(stack: Stack) -> str:
    try:
        return str(stack.client("mwaa").get_environment(Name=NAME)["Environment"]["Status"])
    except Exception as error:  # noqa: BLE001  # the server or its database was just killed
        print(f"no answer: {type(error).__name__}")
        return ""


def _layer(stack: Stack, role: str) -> str:
    ecs: Any = stack.client("ecs")
    arns = ecs.list_tasks(cluster="skylift", serviceName=f"skylift-{NAME}-{role}")["taskArns"]
    (one,) = ecs.describe_tasks(cluster="skylift", tasks=arns)["tasks"]
    made = ecs.describe_task_definition(taskDefinition=one["taskDefinitionArn"])["taskDefinition"]
    told = {var["name"]: var["value"] for var in made["containerDefinitions"][0]["environment"]}
    return str(told["SKYLIFT_LAYER"])
