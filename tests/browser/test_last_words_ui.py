"""What a person sees of a task that was killed for memory: Airflow's UI says so in the task's log, with the limit and
the last lines."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browser.test_airflow_ui import CHROMIUM, FLAGS, OUT
from tests.stack import Stack

from skylift.core.errors import Unavailable

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

DAG = '''
"""A task that eats more memory than its container may have."""
import time

from airflow.sdk import dag, task


@dag(schedule=None, is_paused_upon_creation=False)
def hungry():
    @task(executor_config={"overrides": {"cpu": "256", "memory": "512"}})
    def eat():
        kept = []
        for step in range(200):
            print(f"eaten so far: {step * 16} MiB", flush=True)
            kept.append(bytearray(b"x") * (16 << 20))
            time.sleep(0.1)

    eat()


hungry()
'''


@pytest.fixture(scope="module")
def run_id(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A DAG run that failed, because its task was killed for memory."""
    project = tmp_path_factory.mktemp("project") / "hungry"
    (project / "dags").mkdir(parents=True)
    (project / "dags" / "hungry.py").write_text(DAG)
    stack.must("up", str(project), seconds=400)
    api = stack.airflow("hungry")
    _wait_for(lambda: "hungry" in api.dags(), api.import_errors)
    run = api.trigger("hungry", "killed-for-memory", {})
    _wait_for(lambda: api.run_state("hungry", run) in {"failed", "success"}, lambda: api.task_lines("hungry", run))
    assert api.run_state("hungry", run) == "failed"
    yield run
    stack.must("env", "delete", "hungry")


@pytest.fixture(scope="module")
def page(stack: Stack, run_id: str) -> Iterator[Page]:
    """A page whose person signed in."""
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(stack.must("env", "open", "hungry", "--print").strip())
        expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=30_000)
        yield page
        browser.close()


def test_the_log_says_that_it_was_killed_for_memory(stack: Stack, page: Page, run_id: str) -> None:
    page.goto(f"{_address(stack)}/dags/hungry/runs/{run_id}/tasks/eat")
    expect(page.get_by_text("Failed").first).to_be_visible(timeout=30_000)
    limit = "Killed for memory: the container went over its memory limit of 512 MiB"
    printed = re.compile(r"info eaten so far: \d{3} MiB")
    for text in (limit, "OutOfMemoryError", "Last lines of the container's log", printed):
        expect(page.get_by_text(text).first).to_be_visible(timeout=30_000)
    _picture(page, "killed-for-memory")


def test_the_audit_log_says_so_as_well(stack: Stack, page: Page, run_id: str) -> None:
    page.goto(f"{_address(stack)}/dags/hungry/runs/{run_id}/tasks/eat/events")
    expect(page.get_by_text("executor: ended").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text("memory limit of 512 MiB").first).to_be_visible(timeout=30_000)
    _picture(page, "killed-for-memory-events")


def _wait_for(condition: Callable[[], bool], tell: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while True:
        # A busy machine's API server may take its time to answer.
        with suppress(Unavailable):
            if condition():
                return
        assert time.monotonic() < deadline, tell()
        time.sleep(0.5)


def _address(stack: Stack) -> str:
    return "http://" + str(json.loads(stack.must("env", "show", "hungry", "--json"))["WebserverUrl"])


def _picture(page: Page, name: str) -> Path:
    OUT.mkdir(exist_ok=True)
    page.screenshot(path=str(OUT / f"{name}.png"))
    return OUT / f"{name}.png"
