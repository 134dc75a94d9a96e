"""How fast environments change, beside Amazon MWAA's documented times: `make bench-environments`.

``--only create,one`` measures some rows; `make bench-environments ROWS=create,one` does the same. Prints the medians of
several rounds with the machine's load, and writes bench/out/environments.json with every round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import environments_driver as driver  # noqa: E402  it finds the tests' own stack on the path above

Rounds = list[dict[str, Any]]
"""What each round found."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title, figure: what; its name in what a round found.
        target: the most that is good.
        mwaa: Amazon's documented time, or what else stands beside ours.
        of: one number from those of all rounds.
        unit: printed behind the number.
    """

    title: str
    figure: str
    target: float | None
    mwaa: str = ""
    of: Callable[[list[float]], float] = statistics.median
    unit: str = "s"


@dataclass(frozen=True)
class Scenario:
    """Lines that are measured together.

    Attributes:
        rounds: measures so many rounds.
        alone: it has a skylift of its own.
    """

    rounds: Callable[[Any, int], Rounds]
    rows: tuple[Row, ...]
    alone: bool = False


def level(turn: int) -> dict[str, Any]:
    """A log level that is another one each turn."""
    return {"Enabled": True, "LogLevel": ("WARNING", "ERROR")[turn % 2]}


def restarting_nothing(one: driver.Bench, turns: int) -> Rounds:
    """Maintenance window, MinWorkers, level of the workers' logs."""
    found = []
    for turn in range(turns):
        window, word = f"MON:0{turn % 9}:30", level(turn)["LogLevel"]
        found += [
            one.update({"WeeklyMaintenanceWindowStart": window}, ("--maintenance-window", window)),
            one.update({"MinWorkers": turn % 2 + 2}, ("--min-workers", str(turn % 2 + 2))),
            one.update({"LoggingConfiguration": {"WorkerLogs": level(turn)}}, ("--log", f"worker={word}")),
        ]
    return found


def restarting_one(one: driver.Bench, turns: int) -> Rounds:
    """The level of the DAG processor's logs, and MaxWorkers, which is the scheduler's."""
    found = []
    for turn in range(turns):
        word, most = level(turn)["LogLevel"], 11 + turn % 2
        found += [
            one.update(
                {"LoggingConfiguration": {"DagProcessingLogs": level(turn)}}, ("--log", f"dag-processing={word}")
            ),
            one.update({"MaxWorkers": most}, ("--max-workers", str(most))),
        ]
    return found


def restarting_all(one: driver.Bench, turns: int) -> Rounds:
    """An option."""
    key, found = "core.default_timezone", []
    for turn in range(turns):
        zone = ("Europe/Berlin", "Asia/Tokyo")[turn % 2]
        options = {**one.show().get("AirflowConfigurationOptions", {}), key: zone}
        found.append(one.update({"AirflowConfigurationOptions": options}, ("--option", f"{key}={zone}")))
    return found


UPDATE, CREATE = "10–30 min", "20–30 min"
SCENARIOS = {
    "create": Scenario(
        lambda one, turns: list(islice(one.create_and_delete(), turns)),
        (
            Row("create to AVAILABLE and UI answering, image and layer cached", "create", 12, CREATE),
            Row("delete to 404", "delete", 10, "minutes"),
        ),
    ),
    "nothing": Scenario(restarting_nothing, (Row("update that restarts nothing", "seconds", 2, UPDATE),)),
    "one": Scenario(restarting_one, (Row("update that restarts one component", "seconds", 8, UPDATE),)),
    "all": Scenario(restarting_all, (Row("update that restarts all components", "seconds", 20, UPDATE),)),
    "requirements": Scenario(
        lambda one, turns: [one.requirements(turn) for turn in range(turns)],
        (
            Row("update of requirements, a wheel of 6 MB, with the load below", "seconds", 40, UPDATE),
            Row("… UI asked each 100 ms: without an answer", "failures", 0, "not stated", sum, ""),
            Row("… slowest answer of the UI", "slowest_answer", None, "", max),
            Row("… a DAG run each second: worst time to its first Airflow task", "worst_start", 5, "", max),
            Row("… the same, median", "median_start", None),
        ),
    ),
    "broken": Scenario(
        lambda one, turns: list(islice(one.broken(), turns)),
        (Row("broken requirements saved, to the reason in the terminal", "seconds", 8, "hours, or a dead UI"),),
    ),
    "memory": Scenario(
        lambda folder, _turns: [driver.memory(folder)],
        (Row("idle memory of make run (PSS) / airflow standalone", "ratio", 0.70, "", statistics.median, ""),),
        alone=True,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"rows to measure, of: {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name] or list(SCENARIOS)
    if unknown := set(only) - set(SCENARIOS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} processors, {platform.platform()}", flush=True)
    print(f"{'':66}{'skylift':>10}  {'target':14}{'Amazon MWAA':20} load before and after", flush=True)
    with tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        if shared := [name for name in only if not SCENARIOS[name].alone]:
            with driver.bench(Path(folder)) as one:
                for name in shared:
                    measure(name, one, given.rounds)
        for name in (name for name in only if SCENARIOS[name].alone):
            measure(name, Path(folder), given.rounds)


def measure(name: str, what: Any, turns: int) -> None:
    """Measures a scenario, prints its lines, and writes its rounds beside the others."""
    scenario, before = SCENARIOS[name], os.getloadavg()[0]
    found = scenario.rounds(what, turns)
    loads = (before, os.getloadavg()[0])
    for row in scenario.rows:
        print(line(row, found, loads), flush=True)
    out = ROOT / "bench" / "out" / "environments.json"
    out.parent.mkdir(exist_ok=True)
    kept = json.loads(out.read_text()) if out.exists() else {}
    kept[name] = {"date": time.strftime("%Y-%m-%d %H:%M"), "load": loads, "rounds": found}
    out.write_text(json.dumps(kept, indent=1))


def line(row: Row, found: Rounds, loads: tuple[float, float]) -> str:
    """One line of the table."""
    values = [one[row.figure] for one in found]
    number = row.of([float(len(value)) if isinstance(value, list) else value for value in values])
    verdict = "" if row.target is None else f"≤ {row.target:g} " + ("met" if number <= row.target else "MISSED")
    return f"{row.title:66}{number:>8.2f} {row.unit:1}  {verdict:14}{row.mwaa:20} {loads[0]:.1f} {loads[1]:.1f}"


if __name__ == "__main__":
    main()
