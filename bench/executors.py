"""``make bench-executors``: our executors and the amazon provider's side by side, against one server with AWS's
published limits.

``python -m bench.executors [--only ROW …]`` prints one table and writes bench/out/executors.json (rows that were not
run keep the figures that they had). Rows that only count run at the same time; those that take time run one after the
other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from bench.aws_limits import running
from bench.executors_processes import Driver, NotThere
from bench.executors_rows import COLUMNS, ROWS, Row

OUT = Path(__file__).parent / "out" / "executors.json"
WRITING = Lock()
BEGUN = time.monotonic()


def measure(url: str, row: Row) -> dict[str, Any]:
    """The answers of one row by column; an executor that is not there, or a driver that broke, says so."""
    say(f"{row.name}: begun")
    answers: dict[str, Any] = {"date": time.strftime("%Y-%m-%d %H:%M"), "load": [round(os.getloadavg()[0], 1)]}
    for wave in row.waves:
        drivers = {column: started(url, row, column) for column in wave}
        try:
            for column, driver in drivers.items():
                answers[column] = answer_of(driver)
                what = answers[column].get("error") or row.cell(answers[column])
                say(f"{row.name}: {COLUMNS[column]}: {what}")
        finally:
            for driver in drivers.values():
                driver.end()
    answers["load"].append(round(os.getloadavg()[0], 1))
    return answers


def started(url: str, row: Row, column: str) -> Driver:
    """The driver of one cell."""
    whose, kind = column.split()
    return Driver(url, whose, kind, row.scenario, row.options if whose == "ours" else {}, **row.asked)


def answer_of(driver: Driver) -> dict[str, Any]:
    """Its answer, or ``{"error": …}``."""
    try:
        return driver.answer()
    except NotThere as error:
        return {"error": f"missing: {error}"}
    except Exception as error:  # noqa: BLE001  the other cells and rows go on; this one says what happened
        return {"error": f"{type(error).__name__}: {error}"}


def table(figures: Mapping[str, Any]) -> list[str]:
    """The table as Markdown, in the order of the rows."""
    lines = [f"| what | target | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for row in ROWS:
        found = figures.get(row.name, {})
        lines.append(f"| {row.title} | {row.target} | {' | '.join(cell(row, found, column) for column in COLUMNS)} |")
    return lines


def cell(row: Row, found: Mapping[str, Any], column: str) -> str:
    """One cell; ours says when it misses the target."""
    if not any(column in wave for wave in row.waves):
        return "–"
    answer = found.get(column)
    if answer is None:
        return "not run"
    if "error" in answer:
        return "missing" if answer["error"].startswith("missing") else "broke"
    missed = column.startswith("ours") and not row.met(answer)
    return row.cell(answer) + (" **(missed)**" if missed else "")


def run(rows: Iterable[Row]) -> None:
    """Measures rows, and keeps their answers."""
    rows = list(rows)
    together, alone = [row for row in rows if row.together], [row for row in rows if not row.together]
    with running() as url:
        with ThreadPoolExecutor(len(rows)) as pool:
            for done in [pool.submit(keep, url, row) for row in together]:
                done.result()
        for row in alone:
            keep(url, row)


def keep(url: str, row: Row) -> None:
    """Measures a row and writes it beside the others."""
    answers = measure(url, row)
    with WRITING:
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(json.dumps(kept() | {row.name: answers}, indent=1) + "\n")


def kept() -> dict[str, Any]:
    """All figures so far, by row."""
    return json.loads(OUT.read_text()) if OUT.exists() else {}


def say(text: str) -> None:
    """Progress, for whoever watches."""
    sys.stderr.write(f"{time.monotonic() - BEGUN:6.0f} s  {text[:400]}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=[row.name for row in ROWS], help="only this row; may be repeated"
    )
    wanted = parser.parse_args().only or [row.name for row in ROWS]
    run(row for row in ROWS if row.name in wanted)
    figures = kept()
    print("\n".join(table(figures)))
    print(
        f"\n{time.monotonic() - BEGUN:.0f} s; load at the beginning and end of each row:",
        {row: found["load"] for row, found in figures.items()},
    )


if __name__ == "__main__":
    main()
