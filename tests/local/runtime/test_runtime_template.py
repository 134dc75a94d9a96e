"""Airflow in a fork of a template: configured as after a plain start, without the template's folders."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from skylift.core import templates
from skylift.localcloud.containers.runner import Launch, ProcessRunner
from skylift.localcloud.containers.template import TemplateRunner

pytestmark = pytest.mark.local
ROOT = Path(__file__).parents[3]
VARIABLES = {
    "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    "PYTHONPATH": str(ROOT / "src"),
    "LANG": "C.UTF-8",
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "7",
    "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
    "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "cloudwatch://arn:aws:logs:us-east-1:000000000000:log-group:x",
}
LATE = {
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    "AIRFLOW__LOGGING__REMOTE_LOGGING": "False",
    "AIRFLOW__LOGGING__DELETE_LOCAL_LOGS": "True",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////tmp/elsewhere.db",
    "AIRFLOW__CORE__FERNET_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}
REPORT = """
import gc, json, logging, os, sys, tempfile
forked = "skylift.runtime.template" in sys.modules
import airflow
import boto3
from airflow import settings
from airflow.configuration import conf, AIRFLOW_HOME, AIRFLOW_CONFIG
from airflow.sdk.configuration import conf as sdk_conf
from airflow.sdk.definitions import asset
from airflow.models.crypto import get_fernet
import botocore.credentials, botocore.utils
sections = {s: {k: conf.get(s, k, fallback="") for k in conf.configuration_description[s]["options"]} for s in ("core", "database", "logging", "dag_processor", "scheduler", "api")}
secret = {"jwt_secret", "secret_key"}
found = [(type(o).__name__, k) for o in gc.get_objects() if type(o) is dict for k, v in list(o.items()) if type(v) is str and "/templates/template-" in v]
print("REPORT" + json.dumps({
    "home": [AIRFLOW_HOME, AIRFLOW_CONFIG, settings.AIRFLOW_HOME, settings.DAGS_FOLDER, settings.PLUGINS_FOLDER],
    "options": {s: {k: v for k, v in o.items() if k not in secret} for s, o in sections.items()},
    "sdk": [sdk_conf.get("core", "dags_folder"), sdk_conf.get("logging", "base_log_folder"), asset.SQL_ALCHEMY_CONN],
    "database": [settings.SQL_ALCHEMY_CONN, settings.SQL_ALCHEMY_CONN_ASYNC, str(settings.engine.url)],
    "fernet": len(get_fernet().encrypt(b"x")) > 0,
    "logging": [logging.getLogger().level, sorted(type(h).__name__ for h in logging.getLogger().handlers)],
    "temporary": tempfile.gettempdir(), "path": sys.path, "argv": sys.argv, "aws": [
        botocore.utils.JSONFileCache.CACHE_DIR, boto3.client("s3").meta.endpoint_url, boto3.client("s3").meta.region_name],
    "environment": {k: v for k, v in os.environ.items() if not k.startswith("__")},
    "template": found, "forked": forked,
}))
"""


def report(log: str) -> dict[str, Any]:
    lines = [line for line in log.splitlines() if line.startswith("REPORT")]
    assert lines, log
    return dict(json.loads(lines[0].removeprefix("REPORT")))


async def reports(runner: Any, folder: Path, template: str, cases: list[dict[str, str]]) -> list[dict[str, Any]]:
    """What each case sees, with its own folder as FOLDER."""
    seen = []
    for number, case in enumerate(cases):
        own = folder / f"container-{number}"
        for name in ("home", "tmp", "work"):
            (own / name).mkdir(parents=True)
        library = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        environment = {**library, **VARIABLES, "HOME": str(own / "home"), "TMPDIR": str(own / "tmp"), **case}
        words = ("python", "-m", "skylift.runtime", "python", "-c", REPORT, "word")
        container = await runner.start(
            Launch(own, Path(sys.executable), words, environment, own / "work", template=template)
        )
        ended = await asyncio.wait_for(container.ended, 120)
        log = (own / "log").read_text()
        assert ended.code == 0, log
        seen.append(report(log.replace(str(own), "FOLDER")))
    return seen


@pytest.mark.skipif(shutil.which("python", path=VARIABLES["PATH"]) != sys.executable, reason="python is not this one")
def test_airflow_is_as_after_a_plain_start(tmp_path: Path) -> None:
    cases = [{}, LATE, {"AIRFLOW_HOME": str(tmp_path / "of-its-own"), "MINE": "1"}]

    async def scenario() -> None:
        plain = await reports(ProcessRunner(), tmp_path / "plain", "", cases)
        runner = TemplateRunner(ProcessRunner(), tmp_path / "templates")
        try:
            forked = await reports(runner, tmp_path / "forked", templates.MODULE, cases)
        finally:
            await runner.close()
        assert [one.pop("forked") for one in plain] == [False] * 3
        assert [one.pop("forked") for one in forked] == [True] * 3
        assert plain == forked
        assert forked[1]["database"][0] == LATE["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        assert forked[1]["logging"][0] == plain[1]["logging"][0]
        assert forked[2]["home"][0] == str(tmp_path / "of-its-own")

    asyncio.run(scenario())


def test_other_configuration_is_a_plain_start_inside_the_fork(tmp_path: Path) -> None:
    """What only the container knows (here: its own airflow.cfg) makes it exec, so that Airflow reads it."""
    home = tmp_path / "configured"
    home.mkdir()
    (home / "airflow.cfg").write_text("[core]\nmax_active_tasks_per_dag = 3\n")

    async def scenario() -> None:
        runner = TemplateRunner(ProcessRunner(), tmp_path / "templates")
        try:
            [seen] = await reports(runner, tmp_path, templates.MODULE, [{"AIRFLOW_HOME": str(home)}])
        finally:
            await runner.close()
        assert not seen["forked"]
        assert seen["options"]["core"]["max_active_tasks_per_dag"] == "3"

    asyncio.run(scenario())
