"""Jobs of the fake really run; our client submits, follows, ends and finds them, and survives what an API does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from airflow.sdk.exceptions import TaskDeferralError
from tests.local.anyscale.conftest import IMAGE

import skylift.anyscale.submitting as submitting
import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.hook import AnyscaleHook, end_job
from skylift.anyscale.job_log import LogCursor, new_lines
from skylift.anyscale.jobs import SubmitAnyscaleJob
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable
from skylift.anyscale.triggers import AnyscaleJobTrigger
from skylift.anyscale.watching import REFUSED, TIMED_OUT, UNREACHABLE, Pace, WatchEnd, watch_job
from skylift.anyscale.workload import JobRequest, Workload
from skylift.anyscale_marks import MarkListener
from skylift.testing import Cloud
from skylift.testing.anyscale import Anyscale, running_anyscale

pytestmark = [pytest.mark.local, pytest.mark.timeout(240)]
T = TypeVar("T")
PATIENCE = 120.0


def on(anyscale: Anyscale, work: Callable[[AnyscaleClient], Awaitable[T]], key: str = "", **options: Any) -> T:
    async def run() -> T:
        async with AnyscaleClient(anyscale.url, key or anyscale.key, **options) as client:
            return await work(client)

    return asyncio.run(run())


def submit(anyscale: Anyscale, name: str, entrypoint: str, retries: int = 0, **workload: Any) -> str:
    request = JobRequest(name, entrypoint, Workload(**workload), retries)
    return str(on(anyscale, lambda client: submitting.submit(client, request))["id"])


def watch(
    anyscale: Anyscale, job: str, seconds: float = PATIENCE, patience: float = 60.0, **options: Any
) -> tuple[WatchEnd, list[str]]:
    told: list[str] = []
    pace = Pace(0.2, time.time() + seconds, patience)
    found = on(anyscale, lambda client: watch_job(client, job, pace, told.append, LogCursor()), **options)
    return found, told


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)
    return found


def state(anyscale: Anyscale, job: str) -> str:
    return str(next(one["state"] for one in anyscale.jobs() if one["id"] == job))


def test_a_job_runs_its_package_with_its_variables(anyscale: Anyscale, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import os, part\nprint(part.WORD, os.environ['WHO'], os.getcwd())\n")
    (tmp_path / "part.py").write_text("WORD = 'hello'\n")
    words = {"working_dir": str(tmp_path), "env_vars": {"WHO": "you"}}
    first = submit(anyscale, "package", f"{sys.executable} main.py", **words)
    found, told = watch(anyscale, first)
    assert found.state == "SUCCESS"
    (line,) = [line for line in told if line.startswith("hello you /tmp/ray-")]
    assert not Path(line.rpartition(" ")[2]).exists(), "its folder is gone"
    uploads = len([one for one in anyscale.asked() if one[1].endswith("presigned_url")])
    submit(anyscale, "package-again", "true", **words)
    assert len([one for one in anyscale.asked() if one[1].endswith("presigned_url")]) == uploads + 1


def test_a_failed_job_is_tried_again_and_says_why(anyscale: Anyscale) -> None:
    job = submit(anyscale, "fails", "echo trying; exit 7", retries=1)
    found, told = watch(anyscale, job)
    assert found.state == "OUT_OF_RETRIES"
    assert "exit code 7" in found.message
    assert told.count("trying") == 2
    assert [one["tries"] for one in anyscale.jobs() if one["id"] == job] == [2]


def test_a_job_that_is_ended_leaves_no_process(anyscale: Anyscale, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # One child in a session of its own that ignores SIGTERM, as stubborn as a program can be.
    child = f"import os,signal,time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), file=open('{pids}', 'w'), flush=True); time.sleep(600)"
    job = submit(anyscale, "stubborn", f'setsid {sys.executable} -c "{child}" & sleep 600')
    pid = int(until(lambda: pids.exists() and pids.read_text().strip()))
    on(anyscale, lambda client: end_job(client, job))
    found, _ = watch(anyscale, job)
    assert found.state == "TERMINATED"
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_two_jobs_at_once_do_not_meet(anyscale: Anyscale) -> None:
    jobs = [submit(anyscale, f"pair-{n}", 'echo "$RAY_TMPDIR $RAY_ADDRESS"; sleep 1') for n in range(2)]
    lines = [[line for line in watch(anyscale, job)[1] if line.startswith("/tmp/ray-")] for job in jobs]
    assert [len(one) for one in lines] == [1, 1]
    assert lines[0] != lines[1]
    assert all(line.endswith(" local") and len(line) < 40 for (line,) in lines)


def test_a_long_log_is_read_once_and_bounded(anyscale: Anyscale) -> None:
    job = submit(anyscale, "long", "seq 1 450; sleep 1; seq 451 900")
    found, told = watch(anyscale, job)
    assert found.state == "SUCCESS"
    assert [line for line in told if line.isdecimal()] == [str(n) for n in range(1, 901)]
    run = on(anyscale, lambda client: client.get(f"/ext/v0/production_jobs/{job}", "a test"))["last_job_run_id"]
    full = LogCursor(run=run, printed=9_990)
    lines, after = on(anyscale, lambda client: new_lines(client, run, full))
    assert len(lines) == 11
    assert "the rest is on the job's page" in lines[-1]
    assert on(anyscale, lambda client: new_lines(client, run, after)) == ([], after)


def test_a_wrong_key_and_one_without_rights_are_told_apart(anyscale: Anyscale) -> None:
    request = JobRequest("x", "true", Workload())
    with pytest.raises(AnyscaleRefused, match="does not know this API key") as wrong:
        on(anyscale, lambda client: submitting.submit(client, request), key="aph0_wrong")
    with pytest.raises(AnyscaleRefused, match="may not do that") as looker:
        on(anyscale, lambda client: submitting.submit(client, request), key=anyscale.looker)
    assert (wrong.value.status, looker.value.status) == (401, 403)


@pytest.mark.parametrize(
    ("key", "worked", "words"),
    [("key", True, "Anyscale knows this key: you@localhost"), (None, False, "401 .*does not know this API key")],
)
def test_the_button_of_the_form_says_whether_the_key_is_known(
    anyscale: Anyscale, monkeypatch: pytest.MonkeyPatch, key: str | None, worked: bool, words: str
) -> None:
    given = {**anyscale.connection, "password": anyscale.key if key else "aph0_wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_BUTTON", json.dumps(given))
    found, said = AnyscaleHook("button").test_connection()
    assert found is worked
    assert re.search(words, said)


def test_names_that_are_not_there_are_told(anyscale: Anyscale) -> None:
    for workload, words in (
        (Workload(compute_config="gpu:3"), "There is no compute config gpu:3"),
        (Workload(project="p"), "There is no project p"),
        (Workload(cloud="c"), "Cloud c was not found"),
    ):
        with pytest.raises(AnyscaleRefused, match=words):
            on(anyscale, lambda client, one=workload: submitting.submit(client, JobRequest("x", "true", one)))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", wire.CREATE_JOB, {"config": {}}, "422 to x: config.entrypoint is missing"),
        ("POST", wire.CREATE_JOB, [], "422 to x: the body is not an object"),
        ("PUT", wire.APPLY_SERVICE, {"name": "s"}, "422 to x: project_id, build_id, compute_config_id, ray_serve_"),
        ("POST", wire.ENVIRONMENTS, {}, "422 to x: name is missing"),
        ("GET", wire.LIST_JOBS, {"count": "many"}, "422 to x: count must be a number"),
        ("GET", "/api/v2/nothing", {}, "404 to x: GET /api/v2/nothing is not in this fake"),
    ],
)
def test_the_fake_refuses_what_makes_no_sense(
    anyscale: Anyscale, method: str, path: str, body: Any, words: str
) -> None:
    def ask(client: AnyscaleClient) -> Awaitable[Any]:
        return client.get(path, "x", **body) if method == "GET" else client.post(path, "x", body, method=method)

    with pytest.raises(AnyscaleRefused, match=re.escape(words)):
        on(anyscale, ask)


def test_a_silent_api_is_waited_for_and_then_told(anyscale: Anyscale) -> None:
    job = submit(anyscale, "silent", "true")
    watch(anyscale, job)
    anyscale.be_silent(3)
    assert watch(anyscale, job, answer_seconds=0.5, attempts=1)[0].state == "SUCCESS", "it came back in time"
    anyscale.be_silent(PATIENCE)
    found, _ = watch(anyscale, job, patience=1.0, answer_seconds=0.3, attempts=1)
    with pytest.raises(AnyscaleUnavailable, match="did not answer"):
        on(anyscale, lambda client: client.get("/api/v2/userinfo/", "x"), answer_seconds=0.2, attempts=1)
    anyscale.be_silent(0)
    assert found.state == UNREACHABLE
    assert "did not answer the question for job" in found.message


def test_time_and_refusals_end_waiting(anyscale: Anyscale) -> None:
    job = submit(anyscale, "slow", "sleep 600")
    assert watch(anyscale, job, seconds=0.5)[0].state == TIMED_OUT
    on(anyscale, lambda client: end_job(client, job))
    found, _ = watch(anyscale, job, key="aph0_wrong")
    assert found.state == REFUSED
    assert "does not know this API key" in found.message
    assert watch(anyscale, "prodjob_none")[0].state == REFUSED
    until(lambda: state(anyscale, job) == "TERMINATED")


def test_a_marked_airflow_task_ends_the_job_that_it_waits_for(
    anyscale: Anyscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the API server's listener does with the trigger that it finds beside a marked task instance."""
    monkeypatch.setenv("AIRFLOW_CONN_MARKED", json.dumps(anyscale.connection))
    job = submit(anyscale, "marked", "sleep 600")
    until(lambda: state(anyscale, job) == "RUNNING")
    path, arguments = AnyscaleJobTrigger("marked", job, 1.0, time.time() + 60, 60.0).serialize()
    waiting = SimpleNamespace(trigger=SimpleNamespace(classpath=path, kwargs=arguments))
    others = [None, SimpleNamespace(classpath="others.Trigger", kwargs={})]
    listener = MarkListener()
    listener.on_task_instance_failed("running", waiting)  # a worker tells of its own Airflow task
    for other in others:
        listener.on_task_instance_failed(None, SimpleNamespace(trigger=other))
    time.sleep(1)
    assert state(anyscale, job) == "RUNNING"
    listener.on_task_instance_success(None, waiting)
    until(lambda: state(anyscale, job) == "TERMINATED")


@pytest.mark.parametrize("how", ["killed", "deferral_failed"])
def test_an_airflow_task_that_is_ended_ends_its_job(
    anyscale: Anyscale, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """By Airflow's calls: ``on_kill`` at a kill or a time-out, ``__fail__`` for a trigger that failed or took too long."""
    monkeypatch.setenv("AIRFLOW_CONN_ENDED", json.dumps(anyscale.connection))
    job = submit(anyscale, how, "sleep 600")
    operator = SubmitAnyscaleJob(task_id="t", conn_id="ended", entrypoint="sleep 600")
    if how == "killed":
        operator.job_id = job
        operator.on_kill()
    else:
        instance = SimpleNamespace(map_index=-1, xcom_pull=lambda **_: job)
        with pytest.raises(TaskDeferralError):
            operator.resume_execution("__fail__", {"error": "Trigger failure"}, {"ti": instance})
    until(lambda: state(anyscale, job) == "TERMINATED")


OPERATOR = """
import json, os, sys, types
from skylift.anyscale import SubmitAnyscaleJob

class Instance:
    dag_id, run_id, task_id, map_index, max_tries = "d", "r", "t", -1, int(sys.argv[1])
    def xcom_push(self, key, value):
        print(key, value, flush=True)

operator = SubmitAnyscaleJob(task_id="t", conn_id="mine", name="once", entrypoint=sys.argv[2], poll_interval=0.2,
                             deferrable=False, retries=2, max_retries=0)
print("result", operator.execute({"ti": Instance()}), flush=True)
"""


def operator(anyscale: Anyscale, max_tries: int, entrypoint: str, home: Path) -> subprocess.Popen[str]:
    variables = {"AIRFLOW_CONN_MINE": json.dumps(anyscale.connection), "AIRFLOW_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-c", OPERATOR, str(max_tries), entrypoint],
        env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_worker_that_is_killed_after_submitting_is_followed_by_one_that_finds_the_job(
    anyscale: Anyscale, tmp_path: Path
) -> None:
    def mine() -> list[dict[str, Any]]:
        return [one for one in anyscale.jobs() if str(one["name"]).startswith("once-")]

    gate = tmp_path / "gate"
    entrypoint = f"while [ ! -e {gate} ]; do sleep 0.1; done; echo through"
    killed = operator(anyscale, 2, entrypoint, tmp_path)
    try:
        until(mine)  # the job is there; what the operator does next does not matter
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    second = operator(anyscale, 2, entrypoint, tmp_path)
    gate.touch()
    out, err = second.communicate(timeout=PATIENCE)
    (job,) = mine()
    assert f"result {job['id']}" in out.splitlines(), err
    assert job["state"] == "SUCCESS"
    # A worker that dies after the job's end: the third try takes the result.
    out, err = operator(anyscale, 2, entrypoint, tmp_path).communicate(timeout=PATIENCE)
    assert f"result {job['id']}" in out.splitlines(), err
    assert len(mine()) == 1
    # Somebody clears the Airflow task: Airflow raises max_tries, and a new job is wanted.
    out, err = operator(anyscale, 5, entrypoint, tmp_path).communicate(timeout=PATIENCE)
    assert len(mine()) == 2, err


def test_the_fake_knows_its_jobs_after_a_restart(skylift_cloud: Cloud, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_anyscale(skylift_cloud, tmp_path / "fake", image=IMAGE) as first:
        job = submit(first, "survivor", f"while [ ! -e {gate} ]; do sleep 0.1; done; echo survived")
        until(lambda: state(first, job) == "RUNNING")
    with running_anyscale(skylift_cloud, tmp_path / "fake", image=IMAGE) as second:
        assert (second.url, second.key) == (first.url, first.key)
        gate.touch()
        found, told = watch(second, job)
        assert found.state == "SUCCESS"
        assert "survived" in told
        assert [one["tries"] for one in second.jobs()] == [1]
