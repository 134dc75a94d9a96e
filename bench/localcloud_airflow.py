"""Airflow's figures on the local cloud: forks of a template beside plain starts, podman, LocalExecutor and the
provider's executor.

All share one home, so that the image is built once; what runs beside skylift is the very same image. Used by
``localcloud.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from first_flight import SETTLE_SECONDS, Cli, until
from first_flight import standalone as lone_start
from processes import belonging_to, cpu_seconds, family_of, pss_bytes
from tests.image.engine import CannotRun, build_base, build_image, open_store
from tests.local.standalone import standalone

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.core.errors import Unavailable

AT_ONCE = 16
STARTS = 40
"""Airflow tasks that are timed; a tenth of it where nothing is preloaded."""
MAPPED_ROUNDS = 5
PROVIDER_ROUNDS = 1
"""It takes three times as long, and nothing hangs on its second digit. The first round of each warms, and does not count."""
UPS = 3
NAME = "marks"
DAGS = """
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
Figures = dict[str, dict[str, float]]


def starts(folder: Path) -> Figures:
    """RunTask to the first line of user code, warm: forked, started plainly, and by podman."""
    with environment(folder) as one:
        figures = {"skylift": start_figures(one, STARTS)}
    with environment(folder, SKYLIFT_TEMPLATES="0") as one:
        figures["plain"] = start_figures(one, STARTS // 4)
    try:
        store = open_store()
        build_image(store, build_base(store))
    except CannotRun as error:
        print(f"no podman: {error}")
        return figures
    files = {name: store.environ[name] for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF")}
    with environment(folder, "podman", SKYLIFT_RUNNER="podman", **files) as one:
        figures["podman"] = start_figures(one, STARTS // 4)
    return figures


def mapped(folder: Path) -> Figures:
    """100 mapped Airflow tasks, in rounds of all: our executor, LocalExecutor, and the provider's executor on our
    endpoint. All run all the time, so each pays for the others' idle components alike."""
    lone = folder / "local-executor"
    with environment(folder) as one, standalone(image(folder), project(folder) / "dags", lone, AT_ONCE) as local:
        places = {"skylift": (one.api, one.home), "LocalExecutor": (local, lone)}
        with provider(folder, one) as theirs:
            slow = [mapped_figures(theirs, folder / "provider") for _ in range(PROVIDER_ROUNDS + 1)][1:]
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in places}
        for _ in range(MAPPED_ROUNDS + 1):
            for name, (api, home) in places.items():
                rounds[name].append(mapped_figures(api, home))
    figures = {name: medians(found[1:]) for name, found in rounds.items()}
    ratios = [a["mapped_seconds"] / b["mapped_seconds"] for a, b in zip(*rounds.values(), strict=True)][1:]
    print(
        f"mapped: ratios of the rounds to LocalExecutor {' '.join(f'{one:.2f}' for one in sorted(ratios))}", flush=True
    )
    return figures | {"provider": medians(slow)}


def ups(folder: Path) -> Figures:
    """A second start until everything is healthy, the median of some; and idle memory."""
    seen: dict[str, float] = {}
    ours, theirs = [], []
    with environment(folder):
        pass  # makes it, the first time
    for turn in range(UPS):
        theirs.append(lone_start(folder / "home", seen, measure_memory=turn == 0))
        with environment(folder) as one:
            ours.append(one.up_seconds)
            if turn == 0:
                time.sleep(SETTLE_SECONDS)
                memory = pss_bytes(belonging_to(folder / "home"))
    return {
        "skylift": {"up_seconds": statistics.median(ours), "pss_bytes": memory},
        "standalone": {"up_seconds": statistics.median(theirs), "pss_bytes": seen["standalone_pss_bytes"]},
    }


class Environment:
    """A skylift with one environment that is AVAILABLE."""

    def __init__(self, home: Path, folder: Path, cli: Cli) -> None:
        self.home = home
        self.up_seconds = cli.timed("up", str(folder))
        self.shown: dict[str, Any] = json.loads(cli.run("env", "show", NAME, "--json"))
        self.api = AirflowApi(self.shown["WebserverUrl"], lambda: cli.run("env", "token", NAME).strip())
        until(lambda: {"marks", "mapped"} <= set(patient(self.api.dags)), 120)

    @property
    def url(self) -> str:
        """The local cloud's endpoint."""
        return f"http://127.0.0.1:{json.loads((self.home / 'server.json').read_text())['port']}"

    @property
    def files(self) -> dict[str, str]:
        """Where AWS's tools find our credentials."""
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.home / "aws" / "credentials"),
            "AWS_CONFIG_FILE": str(self.home / "aws" / "config"),
        }

    def client(self, service: str) -> Any:
        os.environ |= self.files
        session = boto3.session.Session(profile_name=boto3.session.Session().available_profiles[0])
        return session.client(service, endpoint_url=self.url)


@contextmanager
def environment(folder: Path, kind: str = "home", **variables: str) -> Iterator[Environment]:
    """Brings it up, made anew if there is none of that kind yet; down at the end."""
    home = folder / kind
    made = home.exists()
    cli = Cli(home)
    with socket.socket() as probe:  # another skylift of this machine may have the usual port
        probe.bind(("127.0.0.1", 0))
        cli.environ |= {"SKYLIFT_PORT": str(probe.getsockname()[1])} | variables
    try:
        if not made:
            cli.run("up")
            cli.run("env", "create", NAME, str(project(folder)), "--option", f"core.parallelism={AT_ONCE}")
            cli.run("up", str(project(folder)))
            cli.run("down")
        yield Environment(home, project(folder), cli)
    finally:
        cli.run("down")


def project(folder: Path) -> Path:
    """The project; made if it is missing."""
    made = folder / NAME
    (made / "dags").mkdir(parents=True, exist_ok=True)
    (made / "dags" / "marks.py").write_text(DAGS)
    return made


def image(folder: Path) -> Path:
    """``airflow`` of the image that skylift built last."""
    found = (folder / "home" / "images").glob("*/bin/airflow")
    return max(found, key=lambda path: path.parents[1].stat().st_mtime)


@contextmanager
def provider(folder: Path, one: Environment) -> Iterator[AirflowApi]:
    """An Airflow with the amazon provider's own AwsEcsExecutor on our endpoint; its containers are as our
    environment's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dags = project(folder) / "dags"
    ecs = one.client("ecs")
    described = ecs.describe_task_definition(taskDefinition=f"skylift-{NAME}-task")["taskDefinition"]
    (container,) = described["containerDefinitions"]
    unwanted = ("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST")
    wanted = [pair for pair in container["environment"] if pair["name"] not in unwanted]
    wanted += [
        {"name": "AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "value": f"http://127.0.0.1:{port}/execution/"},
        {"name": "AIRFLOW__CORE__DAGS_FOLDER", "value": str(dags)},
    ]
    keys = ("networkMode", "requiresCompatibilities", "cpu", "memory", "taskRoleArn", "executionRoleArn")
    ecs.register_task_definition(
        family="bench-provider",
        containerDefinitions=[{**container, "environment": wanted, "secrets": []}],
        **{key: described[key] for key in keys},
    )
    network = one.shown["NetworkConfiguration"]
    options = {
        "CLUSTER": "skylift",
        "CONTAINER_NAME": container["name"],
        "TASK_DEFINITION": "bench-provider",
        "SUBNETS": ",".join(network["SubnetIds"]),
        "SECURITY_GROUPS": ",".join(network["SecurityGroupIds"]),
        "LAUNCH_TYPE": "FARGATE",
        "REGION_NAME": "us-east-1",
    }
    more = {f"AIRFLOW__AWS_ECS_EXECUTOR__{name}": value for name, value in options.items()} | {
        **one.files,
        "AWS_ENDPOINT_URL": one.url,
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW__CORE__EXECUTOR": "airflow.providers.amazon.aws.executors.ecs.AwsEcsExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
    }
    with standalone(image(folder), dags, folder / "provider", AT_ONCE, port=port, more=more) as api:
        yield api
    shutil.rmtree(folder / "provider")


def start_figures(one: Environment, rounds: int) -> dict[str, float]:
    """Median and 95th percentile. The first three runs, which warm everything, do not count."""
    ecs, s3, bucket = one.client("ecs"), one.client("s3"), f"skylift-{NAME}"
    seconds = []
    for number in range(-3, rounds):
        before = keys(s3, bucket)
        run(one.api, "marks")
        (key,) = keys(s3, bucket) - before
        began = float(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        document = ecs.describe_tasks(cluster="skylift", tasks=[key.rsplit("/", 1)[1]])["tasks"][0]
        if number >= 0:
            seconds.append(began - document["createdAt"].timestamp())
    ordered = sorted(seconds)
    return {"start_median": statistics.median(ordered), "start_p95": ordered[int(len(ordered) * 0.95) - 1]}


def keys(s3: Any, bucket: str) -> set[str]:
    """The marks that Airflow tasks have left."""
    return {one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="marks/").get("Contents", ())}


def mapped_figures(api: AirflowApi, home: Path) -> dict[str, float]:
    """One run: its seconds, and the CPU of all processes of ``home`` for one Airflow task."""
    until(lambda: "mapped" in patient(api.dags), 120)
    before = cpu_seconds(family_of(home))
    seconds = mapped_seconds(api)
    return {"mapped_seconds": seconds, "mapped_cpu": (cpu_seconds(family_of(home)) - before) / 100 * 1000}


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def mapped_seconds(api: AirflowApi) -> float:
    """From the first of the 100 mapped Airflow tasks queued to the last one done."""
    lines = api.task_lines("mapped", run(api, "mapped"))
    queued = min(line.queued for line in lines if line.queued)
    done = max(line.started + timedelta(seconds=line.duration or 0) for line in lines if line.started)
    return (done - queued).total_seconds()


def run(api: AirflowApi, dag: str) -> str:
    """One DAG run, to its end. Seldom looked at: Airflow reads all task instances for each answer, 15 ms of CPU of a
    hundred's."""
    run_id = api.trigger(dag, f"bench-{time.time_ns()}", {})
    until(lambda: patient(lambda: api.run_state(dag, run_id)) in {"success", "failed"}, 600, every=1.0)
    if api.run_state(dag, run_id) != "success":
        raise SystemExit(f"{dag} failed")
    return run_id


def patient(ask: Callable[[], Any]) -> Any:
    """The answer; "" when there is none now: while Airflow builds its execution API on a busy machine, it answers
    nobody."""
    try:
        return ask()
    except Unavailable:
        return ""
