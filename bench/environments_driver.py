"""What is measured of an environment: create, update, delete, a broken file, memory. Used by ``environments.py``."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments_load import DAG, DAG_ID, Runs, UiProbe
from first_flight import SETTLE_SECONDS, SKYLIFT, Cli, standalone, until
from processes import belonging_to, pss_bytes
from tests.stack import QUICKSTART, Stack, running

NAME = "marks"
ONLY_ECS = "core.executor=skylift.executors.ecs.AwsEcsExecutor"
"""As the quickstart of all other figures: each Airflow task is an ECS task. Celery workers have figures of their own."""

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
UNDER_WAY = frozenset({"CREATING", "UPDATING", "ROLLING_BACK", "DELETING"})
MOST_SECONDS = 900
Figures = dict[str, Any]

WHEELS = ("sympy==1.13.1", "sympy==1.13.2", "sympy==1.13.3", "sympy==1.14.0")
"""6 MB each, and mpmath. A version that no round had before is fetched from the package index."""

BROKEN = "nosuchpackage-xyz"
READ_ONLY = frozenset(
    {"Arn", "Status", "CreatedAt", "LastUpdate", "ServiceRoleArn", "WebserverUrl", "CeleryExecutorQueue"}
    | {"DatabaseVpcEndpointService", "WebserverVpcEndpointService", "Teams"}
)


class Bench:
    """One skylift with one environment that is AVAILABLE, its image and its layer made."""

    def __init__(self, stack: Stack, project: Path) -> None:
        self.stack, self.project = stack, project
        self.mwaa, self.ecs, self.s3 = (stack.client(name) for name in ("mwaa", "ecs", "s3"))

    def show(self) -> dict[str, Any]:
        return dict(self.mwaa.get_environment(Name=NAME)["Environment"])

    def probe(self) -> UiProbe:
        return UiProbe(f"http://{self.show()['WebserverUrl']}")

    def create_and_delete(self) -> Iterator[Figures]:
        """Deletes and creates again: image, layer and the project's files are there already. One round at a time."""
        known = set(self.mwaa.meta.service_model.shape_for("CreateEnvironmentInput").members) - READ_ONLY
        while True:
            request = {name: value for name, value in self.show().items() if name in known and value != {}}
            for module in request["LoggingConfiguration"].values():
                module.pop("CloudWatchLogGroupArn", None)
            begun = time.monotonic()
            self.mwaa.delete_environment(Name=NAME)
            until(lambda: NAME not in self.mwaa.list_environments()["Environments"], MOST_SECONDS, every=0.05)
            deleted = time.monotonic() - begun
            begun = time.monotonic()
            self.mwaa.create_environment(**request)
            self.settled()
            probe = self.probe()
            probe.ask()
            until(lambda probe=probe: self._answers(probe), MOST_SECONDS, every=0.05)
            yield {"create": time.monotonic() - begun, "delete": deleted}

    def update(self, members: dict[str, Any], plan: tuple[str, ...]) -> Figures:
        """One update to its end, and whether exactly those components restarted that its plan names.

        Args:
            plan: the same change as options of ``skylift env update``.
        """
        planned = json.loads(self.stack.must("env", "update", NAME, *plan, "--plan", "--json"))["restarts"]
        before = self.tasks()
        begun = time.monotonic()
        self.mwaa.update_environment(Name=NAME, **members)
        self.settled()
        took = time.monotonic() - begun
        after = self.tasks()
        restarted = [role for role in COMPONENTS if not before[role] <= after[role]]
        if sorted(restarted) != sorted(planned):
            raise SystemExit(f"{members}: the plan names {planned}, and restarted are {restarted}")
        return {"seconds": took, "restarted": restarted}

    def update_under_load(self, members: dict[str, Any], plan: tuple[str, ...]) -> Figures:
        """As ``update``, while the UI is asked each 100 ms and a DAG run is triggered each second."""
        probe, runs = self.probe(), Runs(self.stack.airflow(NAME))
        with probe.running(), runs.running():
            time.sleep(3)  # the load is there before the update begins
            figures = self.update(members, plan)
        delays = runs.delays()
        return figures | {
            "failures": [*probe.failures, *runs.refused],
            "asked": float(len(probe.seconds)),
            "slowest_answer": max(probe.seconds),
            "runs": float(len(delays)),
            "worst_start": max(delays),
            "median_start": sorted(delays)[len(delays) // 2],
        }

    def requirements(self, turn: int) -> Figures:
        """Another version of a wheel of some MB, under load."""
        body = f"pyjokes==0.6.0\n{WHEELS[turn % len(WHEELS)]}\n# {time.time_ns()}\n".encode()
        bucket = self.show()["SourceBucketArn"].rpartition(":")[2]
        version = self.s3.put_object(Bucket=bucket, Key="requirements.txt", Body=body)["VersionId"]
        members = {"RequirementsS3Path": "requirements.txt", "RequirementsS3ObjectVersion": version}
        return self.update_under_load(members, ("--requirements", f"requirements.txt@{version}"))

    def broken(self) -> Iterator[Figures]:
        """A broken requirements.txt saved in the followed folder, to its reason in the terminal of ``up --follow``."""
        file, address = self.project / "requirements.txt", str(self.show()["WebserverUrl"])
        good = file.read_text()
        with following(self.stack, self.project) as lines:
            until(lambda: address in " ".join(lines), MOST_SECONDS)
            while True:
                seen, before = len(lines), self.tasks()
                begun = time.monotonic()
                file.write_text(f"{good}{BROKEN}=={time.time_ns()}\n")
                until(lambda seen=seen: BROKEN in " ".join(lines[seen:]), MOST_SECONDS, every=0.02)
                took = time.monotonic() - begun
                self.settled()
                if self.tasks() != before:
                    raise SystemExit("an update that failed has restarted something")
                file.write_text(good)
                until(lambda: self._uploaded() == good, MOST_SECONDS)
                yield {"seconds": took}

    def tasks(self) -> dict[str, frozenset[str]]:
        """ARNs of each component's ECS tasks."""
        return {
            role: frozenset(self.ecs.list_tasks(cluster="skylift", serviceName=f"skylift-{NAME}-{role}")["taskArns"])
            for role in COMPONENTS
        }

    def settled(self) -> None:
        """Waits until nothing is under way."""
        until(lambda: self.show()["Status"] not in UNDER_WAY, MOST_SECONDS, every=0.05)

    def _uploaded(self) -> str:
        bucket = self.show()["SourceBucketArn"].rpartition(":")[2]
        return str(self.s3.get_object(Bucket=bucket, Key="requirements.txt")["Body"].read().decode())

    def _answers(self, probe: UiProbe) -> bool:
        failed = len(probe.failures)
        probe.ask()
        return len(probe.failures) == failed


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A skylift whose environment has run an Airflow task; down at the end."""
    project = folder / NAME
    (project / "dags").mkdir(parents=True)
    (project / "dags" / "tick.py").write_text(DAG)
    (project / "requirements.txt").write_text("pyjokes==0.6.0\n")
    with running(folder / "home") as stack:
        stack.must("env", "create", NAME, str(project), "--option", ONLY_ECS)
        stack.must("up", str(project), "--no-apply")
        stack.must("env", "run", DAG_ID, "--env", NAME)
        yield Bench(stack, project)


@contextmanager
def following(stack: Stack, project: Path) -> Iterator[list[str]]:
    """The lines that ``skylift up --follow`` prints, as they come."""
    lines: list[str] = []
    words = [SKYLIFT, "up", str(project), "--apply", "--follow"]
    with subprocess.Popen(words, env=stack.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as up:
        assert up.stdout is not None
        reading = threading.Thread(target=lambda: lines.extend(up.stdout), daemon=True)
        reading.start()
        try:
            yield lines
        finally:
            up.terminate()
            reading.join(timeout=10)


def memory(folder: Path) -> Figures:
    """Idle PSS, in MiB, of what ``make run`` starts, and of ``airflow standalone`` from the same image."""
    home, project = folder / "memory", folder / QUICKSTART.name  # not the home of the other rows: it has environments
    shutil.copytree(QUICKSTART, project, dirs_exist_ok=True)
    cli, theirs = Cli(home), {}
    with socket.socket() as probe:  # another skylift of this machine may have the usual port
        probe.bind(("127.0.0.1", 0))
        cli.environ["SKYLIFT_PORT"] = str(probe.getsockname()[1])
    try:
        cli.run("up", str(project), "--run")
        time.sleep(SETTLE_SECONDS)
        ours = pss_bytes(belonging_to(home))
    finally:
        cli.run("down")
    standalone(home, theirs, measure_memory=True)
    beside = theirs["standalone_pss_bytes"]
    return {"skylift_mib": ours / 2**20, "standalone_mib": beside / 2**20, "ratio": ours / beside}
