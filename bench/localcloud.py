"""All figures of the local cloud beside what else there is, on the same machine in the same run: `make
bench-localcloud`.

``--only start,mapped`` measures some rows; `make bench-localcloud ROWS=start` does the same. Prints one table, with the
machine's load as each row began (times mean little on a machine that others use; ratios a little more), and writes
bench/out/localcloud.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import localcloud_airflow as airflow  # noqa: E402  both find the tests' own helpers on the path above
import localcloud_ecs as ecs  # noqa: E402
import localcloud_logs as logs  # noqa: E402

Figures = dict[str, dict[str, float]]
"""Who -> what -> how much."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title, figure: what; its name in the figures.
        target: text of the target.
        met: whether ours meets it, from the figures of all; ``None`` for a line without a target.
        unit: what the figure is divided by to be shown.
    """

    title: str
    figure: str
    target: str = ""
    met: Callable[[Figures], bool] | None = None
    unit: float = 1.0


def at_most(figure: str, most: float) -> Callable[[Figures], bool]:
    """Ours is at most so much."""
    return lambda all_: all_["skylift"][figure] <= most


def at_most_times(figure: str, times: float, other: str) -> Callable[[Figures], bool]:
    """Ours is at most so many times another's."""
    return lambda all_: all_["skylift"][figure] <= times * all_[other][figure]


def at_least_times(figure: str, times: float, other: str) -> Callable[[Figures], bool]:
    """Ours is at least so many times another's."""
    return lambda all_: all_["skylift"][figure] >= times * all_[other][figure]


ROWS: dict[str, tuple[Callable[[Path], Figures], tuple[Row, ...]]] = {
    "start": (
        airflow.starts,
        (
            Row(
                "RunTask to the first line of user code, median, s", "start_median", "0.4", at_most("start_median", 0.4)
            ),
            Row("the same, p95, s", "start_p95", "0.8", at_most("start_p95", 0.8)),
        ),
    ),
    "mapped": (
        airflow.mapped,
        (
            Row(
                "100 mapped Airflow tasks, 16 at a time, queued to done, s",
                "mapped_seconds",
                "1.0 x LocalExecutor",
                at_most_times("mapped_seconds", 1.0, "LocalExecutor"),
            ),
            Row("CPU of all processes for one of them, ms", "mapped_cpu", "190", at_most("mapped_cpu", 190)),
        ),
    ),
    "up": (
        airflow.ups,
        (
            Row(
                "up again to AVAILABLE, s",
                "up_seconds",
                "1.0 x standalone",
                at_most_times("up_seconds", 1, "standalone"),
            ),
            Row(
                "idle memory, PSS, MiB",
                "pss_bytes",
                "0.8 x standalone",
                at_most_times("pss_bytes", 0.8, "standalone"),
                2**20,
            ),
        ),
    ),
    "describe": (
        ecs.describing,
        tuple(
            Row(
                f"DescribeTasks of 100 ECS tasks, {clients} client(s), 1/s",
                f"describe_100_rate_{clients}",
                "4 x moto",
                at_least_times(f"describe_100_rate_{clients}", 4, "moto"),
            )
            for clients in (1, 8)
        ),
    ),
    "short": (
        ecs.short,
        (
            Row("1,000 shell tasks, 16 at a time, s", "short_1000_seconds", "12", at_most("short_1000_seconds", 12)),
            Row("CPU of the server for them, s", "short_1000_cpu_seconds", "3", at_most("short_1000_cpu_seconds", 3)),
        ),
    ),
    "at-once": (
        ecs.at_once,
        (
            Row(
                "1,000 running, nothing changes: cores",
                "at_once_1000_idle_core",
                "0.05",
                at_most("at_once_1000_idle_core", 0.05),
            ),
            Row("memory of the server then, MiB", "at_once_1000_rss_bytes", unit=2**20),
        ),
    ),
    "logs": (
        logs.logging,
        (
            Row(
                "PutLogEvents of 1,000 events: CPU of the server, ms",
                "put_1000_cpu_ms",
                "0.1 x moto",
                at_most_times("put_1000_cpu_ms", 0.1, "moto"),
            ),
            Row(
                "FilterLogEvents, a million events, a literal, s",
                "filter_literal_seconds",
                "0.5",
                at_most("filter_literal_seconds", 0.5),
            ),
            Row("the same, a JSON selector, s", "filter_json_seconds", "3", at_most("filter_json_seconds", 3)),
            Row(
                "memory of the server after 1 GB of logs, times before",
                "memory_after_gigabyte",
                "1.2",
                at_most("memory_after_gigabyte", 1.2),
            ),
        ),
    ),
    "history": (
        ecs.long_history,
        (
            Row(
                "server start with 10,000 in the history, s",
                "start_10000_seconds",
                "1.5",
                at_most("start_10000_seconds", 1.5),
            ),
            Row("the same with none, s", "start_empty_seconds"),
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"rows to measure, of: {', '.join(ROWS)}")
    only = [name for name in parser.parse_args().only.split(",") if name] or list(ROWS)
    if unknown := set(only) - set(ROWS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} processors, {platform.platform()}")
    result: dict[str, object] = {"began": time.time()}
    with tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        for name in only:
            measure, rows = ROWS[name]
            load = os.getloadavg()[0]
            figures = measure(Path(folder))
            result[name] = {"load": load, "figures": figures}
            for row in rows:
                print(line(row, figures, load), flush=True)
    out = ROOT / "bench" / "out"
    out.mkdir(exist_ok=True)
    (out / "localcloud.json").write_text(json.dumps(result, indent=2))


def line(row: Row, figures: Figures, load: float) -> str:
    """One line of the table."""
    found = {who: one[row.figure] / row.unit for who, one in figures.items() if row.figure in one}
    ours = found.pop("skylift")
    beside = ", ".join(f"{who} {value:,.2f}" for who, value in found.items())
    verdict = "" if row.met is None else "met" if row.met(figures) else "MISSED"
    return f"{row.title:58}{ours:>10,.2f}  {verdict:7}{row.target:20} load {load:4.1f}  {beside}"


if __name__ == "__main__":
    main()
