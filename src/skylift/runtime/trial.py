"""Run as ``python -m skylift.runtime.trial REPORT DAGS OPTIONS FILE...``: does Airflow start, does every DAG parse?

It is a separate process because it runs the user's code. The report (a JSON file) is written before each step, so that
the step that ended the process is known. Airflow's database is an empty SQLite file. A DAG file that reads from the
database while it is parsed fails here with the current settings as well, so the update is not blamed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class TrialReport:
    """The result of a trial.

    Attributes:
        now: the current step.
        options: what is wrong with options, a sentence each.
        notes: what has no effect, a sentence each.
        plugins: plugin file -> error.
        dags: DAG file, relative to the folder -> line and error.
        failed: why Airflow does not start; empty if it does.
        done: whether the last step was reached.
    """

    now: str = ""
    options: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plugins: dict[str, str] = field(default_factory=dict)
    dags: dict[str, str] = field(default_factory=dict)
    failed: str = ""
    done: bool = False


def main(report_file: Path, dags: Path, options: Sequence[str], files: Sequence[str]) -> None:
    """Reads the options, loads plugins, executor and API server, then parses all DAG files (or those named)."""
    report = TrialReport()

    def note(now: str) -> None:
        report.now = now
        report_file.write_text(json.dumps(asdict(report)))

    note("reading Airflow's configuration")
    try:
        _read_options(report, options)
        if not files and not report.options:
            note("loading plugins")
            _load_plugins(report)
            note("starting Airflow")
            _start()
    except Exception as error:  # noqa: BLE001  # the user's to judge: whatever it is, Airflow would not start
        report.failed = f"{report.now}: {type(error).__name__}: {error}"
        note(report.now)
        return
    note("parsing DAG files")
    _parse(report, dags, files)
    report.done = True
    note("")


def _read_options(report: TrialReport, names: Sequence[str]) -> None:
    from airflow.configuration import conf  # lazy: a second, and a broken option may fail it

    for name in names:
        _, section, key = name.lower().split("__", 2)
        told = ((conf.configuration_description.get(section) or {}).get("options") or {}).get(key)
        if told is None:
            known = section in conf.configuration_description
            what = f"[{section}] {key}" if known else f"[{section}], the section of {key},"
            report.notes.append(f"{what} is not known to Airflow or an installed provider; nothing may read it")
            continue
        value, kind = os.environ.get(name, ""), str(told.get("type") or "string")
        try:
            {"integer": conf.getint, "float": conf.getfloat, "boolean": conf.getboolean}.get(kind, conf.get)(
                section, key
            )
        except Exception:  # noqa: BLE001  # its text holds the value, which may be a secret
            shown = f"{value!r} is" if len(value) <= 20 else "its value is"
            report.options.append(f"[{section}] {key}: {shown} no {kind}")


def _load_plugins(report: TrialReport) -> None:
    from airflow import plugins_manager  # lazy: two seconds, after the options are read

    plugins_manager.ensure_plugins_loaded()
    report.plugins = {
        os.path.basename(str(key)): str(text) for key, text in plugins_manager.get_import_errors().items()
    }


def _start() -> None:
    """Does what Airflow's processes do first: settings, executors, the whole API server."""
    from airflow.api_fastapi.app import create_app  # lazy: Airflow itself is what may fail
    from airflow.executors.executor_loader import ExecutorLoader  # lazy: Airflow itself is what may fail

    from airflow import settings  # lazy: Airflow itself is what may fail

    settings.initialize()
    ExecutorLoader.init_executors()
    create_app(apps="all")


def _parse(report: TrialReport, dags: Path, files: Sequence[str]) -> None:
    from airflow.dag_processing.dagbag import DagBag  # lazy: Airflow itself is what may fail

    for one in [dags / file for file in files] or [dags]:
        bag = DagBag(dag_folder=str(one), bundle_path=dags, bundle_name="dags")
        for file, text in bag.import_errors.items():
            report.dags[_relative(file, dags)] = last_words(text, dags)


def _relative(file: str, dags: Path) -> str:
    return os.path.relpath(file, dags) if file.startswith(str(dags)) else file


def last_words(text: str, dags: Path) -> str:
    """From a traceback: the error, and the last line of the user's own files that it came from."""
    lines = [line.strip() for line in text.strip().splitlines()]
    mine = [line for line in lines if line.startswith("File ") and str(dags) in line]
    where = mine[-1].replace(f"{dags}/", "").partition(", in ")[0].removeprefix("File ") if mine else ""
    return f"{where}: {lines[-1]}" if where else (lines[-1] if lines else "no reason given")


if __name__ == "__main__":
    sys.path[:0] = [sys.argv[2]]  # as in the DAG processor: DAG files import their neighbours
    main(Path(sys.argv[1]), Path(sys.argv[2]), [name for name in sys.argv[3].split(",") if name], sys.argv[4:])
    # The report is written. Ending Airflow properly would only take time.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
