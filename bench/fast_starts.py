"""Fast starts' figures: forks of a template, plain starts, and LocalExecutor, on the same machine in the same run.

RunTask to the first line of user code in a real Airflow task, warm; 100 trivial mapped Airflow tasks from queued to done, at
most 16 at a time; `skylift up` again and idle memory (PSS), beside `airflow standalone` from the very same image.
Prints one table and writes bench/out/fast_starts.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from first_flight import ROOT, SETTLE_SECONDS, Cli, until
from first_flight import standalone as lone_start
from processes import belonging_to, pss_bytes

from skylift.cli.airflow_api import AirflowApi

sys.path.insert(0, str(ROOT))
from tests.local.standalone import standalone

AT_ONCE = 16
MARKS = """
import os, time
NOW = time.time
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def marks():
    @task
    def mark():
        now = NOW()
        import boto3
        task_id = os.environ["ECS_CONTAINER_METADATA_URI_V4"].rsplit("/", 1)[1].split("-")[0]
        bucket = os.environ["SKYLIFT_DAGS"].removeprefix("s3://").split("/")[0]
        boto3.client("s3").put_object(Bucket=bucket, Key=f"marks/{task_id}", Body=str(now).encode())
    mark()
marks()

@dag(schedule=None, is_paused_upon_creation=False, max_active_tasks=128)
def mapped():
    @task
    def one(n):
        return n
    one.expand(n=list(range(100)))
mapped()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many Airflow tasks are timed (default 20)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        home, project = Path(folder) / "home", Path(folder) / "marks"
        (project / "dags").mkdir(parents=True)
        (project / "dags" / "marks.py").write_text(MARKS)
        figures: dict[str, dict[str, float]] = {}
        for column, measure in (
            ("template", lambda: skylift(home, project, rounds, templates=True)),
            ("plain", lambda: skylift(home, project, rounds, templates=False)),
            ("local_executor", lambda: local_executor(home, project, Path(folder) / "standalone")),
        ):
            figures[column] = measure()
            show(figures)
    out = ROOT / "bench" / "out"
    out.mkdir(exist_ok=True)
    (out / "fast_starts.json").write_text(json.dumps(figures, indent=2))


def skylift(home: Path, project: Path, rounds: int, *, templates: bool) -> dict[str, float]:
    """All figures of one way to start containers. The first call also makes the environment."""
    cli = Cli(home)
    cli.environ["SKYLIFT_TEMPLATES"] = "3" if templates else "0"
    name = project.name
    try:
        if not home.exists():
            cli.run("up")
            cli.run("env", "create", name, str(project), "--option", f"core.parallelism={AT_ONCE}")
            cli.run("up", str(project))
            cli.run("down")
        figures = {"up_seconds": cli.timed("up", str(project))}
        time.sleep(SETTLE_SECONDS)
        figures["pss_bytes"] = pss_bytes(belonging_to(home))
        url = json.loads(cli.run("env", "show", name, "--json"))["WebserverUrl"]
        api = AirflowApi(url, "admin", cli.run("env", "password", name).strip())
        until(lambda: {"marks", "mapped"} <= api.dags().keys(), 120)
        starts = user_code_starts(home, api, name, rounds)
        figures |= {"start_median": statistics.median(starts), "start_p95": sorted(starts)[int(len(starts) * 0.95) - 1]}
        mapped_seconds(api)  # the first run warms both
        figures["mapped_seconds"] = mapped_seconds(api)
    finally:
        cli.run("down")
    return figures


def local_executor(home: Path, project: Path, folder: Path) -> dict[str, float]:
    """`airflow standalone` from the image that skylift built last; its own second start, as ours."""
    seen: dict[str, float] = {}
    up = lone_start(home, seen, measure_memory=True)
    image = max((home / "images").glob("*/bin/airflow"), key=lambda path: path.parents[1].stat().st_mtime)
    with standalone(image, project / "dags", folder, AT_ONCE) as api:
        until(lambda: "mapped" in api.dags(), 120)
        mapped_seconds(api)  # warm, as ours
        return {"up_seconds": up, "pss_bytes": seen["standalone_pss_bytes"], "mapped_seconds": mapped_seconds(api)}


def user_code_starts(home: Path, api: AirflowApi, bucket: str, rounds: int) -> list[float]:
    """Seconds from RunTask (``createdAt``) to the first line of the Airflow task's function; the first runs are not counted."""
    starts: list[float] = []
    endpoint = json.loads((home / "server.json").read_text())["port"]
    os.environ |= {
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws" / "credentials"),
        "AWS_CONFIG_FILE": str(home / "aws" / "config"),
    }
    session = boto3.session.Session(profile_name=boto3.session.Session().available_profiles[0])
    ecs, s3 = (session.client(name, endpoint_url=f"http://127.0.0.1:{endpoint}") for name in ("ecs", "s3"))
    for number in range(-3, rounds):
        before = keys(s3, bucket)
        run(api, "marks", number)
        (key,) = keys(s3, bucket) - before
        began = float(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        document = ecs.describe_tasks(cluster="skylift", tasks=[key.rsplit("/", 1)[1]])["tasks"][0]
        if number >= 0:
            starts.append(began - document["createdAt"].timestamp())
    return starts


def keys(s3: Any, bucket: str) -> set[str]:
    """The marks that Airflow tasks have left."""
    return {one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="marks/").get("Contents", ())}


def mapped_seconds(api: AirflowApi) -> float:
    """From the first of the 100 mapped Airflow tasks queued to the last one done."""
    run_id = run(api, "mapped", int(time.time()))
    lines = api.task_lines("mapped", run_id)
    queued = min(line.queued for line in lines if line.queued)
    done = max(line.started + timedelta(seconds=line.duration or 0) for line in lines if line.started)
    return (done - queued).total_seconds()


def run(api: AirflowApi, dag: str, number: int) -> str:
    """One DAG run, to its end."""
    run_id = api.trigger(dag, f"bench-{number}-{time.time_ns()}", {})
    until(lambda: api.run_state(dag, run_id) in {"success", "failed"}, 600)
    if api.run_state(dag, run_id) != "success":
        raise SystemExit(f"{dag} failed")
    return run_id


def show(figures: dict[str, dict[str, float]]) -> None:
    """The table: forks of a template, plain starts, LocalExecutor."""
    columns = list(figures)
    print(f"{'':44}" + "".join(f"{name:>16}" for name in columns) + f"{'target':>22}")
    rows = (
        ("RunTask to user code, median (s)", "start_median", 1, "<= 0.4"),
        ("RunTask to user code, p95 (s)", "start_p95", 1, "<= 0.8"),
        (f"100 mapped Airflow tasks, {AT_ONCE} at a time (s)", "mapped_seconds", 1, "<= 1.2 x LocalExecutor"),
        ("up again to AVAILABLE (s)", "up_seconds", 1, "<= 1.0 x standalone"),
        ("idle memory, PSS (MiB)", "pss_bytes", 2**20, "<= 0.8 x standalone"),
    )
    for title, name, unit, target in rows:
        cells = (
            f"{figures[column][name] / unit:16.2f}" if name in figures[column] else f"{'':16}" for column in columns
        )
        print(f"{title:44}" + "".join(cells) + f"{target:>22}")


if __name__ == "__main__":
    main()
