"""First flight's figures, beside `airflow standalone` on the same machine in the same run: `make bench`.

Start, idle memory and DAG latency of skylift's quickstart environment; start and idle memory of `airflow standalone`
run from the very same image (same Airflow, same compiled bytecode). Prints one table and writes
bench/out/first_flight.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from processes import belonging_to, end_all, in_session, pss_bytes

ROOT = Path(__file__).parents[1]
SKYLIFT = str(Path(sys.executable).with_name("skylift"))
SETTLE_SECONDS = 20
"""Idle memory is read this long after everything is healthy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each start is measured (default 3)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        home = Path(folder) / "home"
        project = Path(folder) / "quickstart"
        shutil.copytree(ROOT / "examples" / "quickstart", project)
        figures = measure(home, project, rounds)
    show(figures)
    out = ROOT / "bench" / "out"
    out.mkdir(exist_ok=True)
    (out / "first_flight.json").write_text(json.dumps(figures, indent=2))


def measure(home: Path, project: Path, rounds: int) -> dict[str, float]:
    """All figures, in seconds and bytes."""
    cli = Cli(home)
    cold = cli.timed("up", str(project))
    figures = {"cold_up_seconds": cold}
    try:
        figures["dag_saved_to_parsed_seconds"] = dag_latency(cli, project)
        ups, lones = [], []
        for turn in range(rounds):
            cli.run("down")
            lones.append(standalone(home, figures, measure_memory=turn == 0))
            ups.append(cli.timed("up", str(project)))
        time.sleep(SETTLE_SECONDS)
        figures["skylift_pss_bytes"] = pss_bytes(belonging_to(home))
        figures["skylift_up_seconds"] = sorted(ups)[len(ups) // 2]
        figures["standalone_seconds"] = sorted(lones)[len(lones) // 2]
    finally:
        cli.run("down")
    return figures


class Cli:
    """The skylift command with a home of its own."""

    def __init__(self, home: Path) -> None:
        unwanted = {"PYTHONDONTWRITEBYTECODE"}
        self.environ = {k: v for k, v in os.environ.items() if k not in unwanted} | {"SKYLIFT_HOME": str(home)}

    def run(self, *words: str) -> str:
        done = subprocess.run([SKYLIFT, *words], env=self.environ, text=True, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"skylift {' '.join(words)} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def timed(self, *words: str) -> float:
        began = time.monotonic()
        self.run(*words)
        return time.monotonic() - began


def standalone(home: Path, figures: dict[str, float], *, measure_memory: bool) -> float:
    """Seconds from `airflow standalone` to all components healthy, with the image that skylift built."""
    airflow = next(iter(sorted((home / "images").glob("*/bin/airflow"))))
    with tempfile.TemporaryDirectory(prefix="skylift-standalone-") as folder:
        port = 18080
        environ = {
            "PATH": f"{airflow.parent}:{os.environ['PATH']}",
            "HOME": folder,
            "AIRFLOW_HOME": folder,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        # The first start creates the database; a user's second start is what is compared.
        subprocess.run([airflow, "db", "migrate"], env=environ, check=True, capture_output=True)
        began = time.monotonic()
        with open(Path(folder) / "out.log", "wb") as log:
            process = subprocess.Popen(
                [airflow, "standalone"], env=environ, stdout=log, stderr=log, start_new_session=True
            )
        try:
            until(lambda: healthy(f"http://127.0.0.1:{port}"), 180)
            took = time.monotonic() - began
            if measure_memory:
                time.sleep(SETTLE_SECONDS)
                figures["standalone_pss_bytes"] = pss_bytes(in_session(process.pid))
        finally:
            end_all([process.pid])
            process.wait()
            end_all(in_session(process.pid))
    return took


def healthy(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/api/v2/monitor/health", timeout=2) as answer:
            parts = json.load(answer)
    except (urllib.error.URLError, OSError):
        return False
    return all(
        parts.get(name, {}).get("status") == "healthy"
        for name in ("metadatabase", "scheduler", "dag_processor", "triggerer")
    )


def dag_latency(cli: Cli, project: Path) -> float:
    """Median seconds, of five saves, from saving a DAG file to Airflow's API showing the new version."""
    address = "http://" + json.loads(cli.run("env", "show", project.name, "--json"))["WebserverUrl"]
    token = cli.run("env", "token", project.name).strip()
    file = project / "dags" / "bench_latency.py"
    took = []
    for number in range(5):
        marker = f"latency-{number}-{time.time_ns()}"
        file.write_text(
            "from airflow.sdk import DAG\n"
            f"with DAG('bench_latency', schedule=None, description='{marker}'):\n    pass\n"
        )
        began = time.monotonic()
        until(lambda wanted=marker: _description(address, token) == wanted, 60, every=0.05)
        took.append(time.monotonic() - began)
    file.unlink()
    return sorted(took)[len(took) // 2]


def _description(address: str, token: str) -> str:
    request = urllib.request.Request(
        f"{address}/api/v2/dags/bench_latency", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(json.load(answer).get("description"))
    except urllib.error.HTTPError:
        return ""


def until(condition: Callable[[], bool], seconds: float, every: float = 0.1) -> None:
    """Waits for a condition; ends the benchmark when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing after {seconds} s")
        time.sleep(every)


def show(figures: dict[str, float]) -> None:
    """The table: figure, target, what stands beside it."""
    up, lone = figures["skylift_up_seconds"], figures["standalone_seconds"]
    ours, theirs = figures["skylift_pss_bytes"], figures["standalone_pss_bytes"]
    print(f"{'':42}{'skylift':>12}{'standalone':>12}{'ratio':>8}{'target':>9}")
    print(f"{'up again, image cached, to AVAILABLE (s)':42}{up:12.1f}{lone:12.1f}{up / lone:8.2f}{'<= 2':>9}")
    print(f"{'idle memory, PSS (MiB)':42}{ours / 2**20:12.0f}{theirs / 2**20:12.0f}{ours / theirs:8.2f}{'<= 1':>9}")
    print(f"{'DAG saved to new version parsed (s)':42}{figures['dag_saved_to_parsed_seconds']:12.1f}{'':20}{'<= 5':>9}")
    print(f"{'first up, empty caches (s)':42}{figures['cold_up_seconds']:12.1f}{'':20}{'<= 180':>9}")


if __name__ == "__main__":
    main()
