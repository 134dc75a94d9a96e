"""What a person sees of Anyscale: makes the connection in the form, runs the example, and reads the job's log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browser.test_airflow_ui import CHROMIUM, FLAGS, OUT
from tests.stack import ROOT, Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
EXAMPLE = ROOT / "examples" / "anyscale_job"
NAME, DAG, TASK = "anyscale_job", "anyscale_job", "count_primes"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def test_the_connection_is_made_in_the_form_and_the_jobs_log_is_shown(stack: Stack, browser: Browser) -> None:
    stack.must("up", "--with-anyscale")
    stack.must("up", str(EXAMPLE), seconds=500)
    web = "http://" + str(json.loads(stack.must("env", "show", NAME, "--json"))["WebserverUrl"])
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(stack.must("env", "open", NAME, "--print").strip())
    expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=30_000)
    kept = json.loads((stack.home / "anyscale" / "address.json").read_text())
    make_connection(page, web, f"http://127.0.0.1:{kept['port']}", kept["key"])
    done = stack.run("run", DAG, "--env", NAME, seconds=400)
    found = re.search(r"run (\S+) of anyscale_job: success", done.stderr + done.stdout)
    assert found, f"{done.stdout}\n{done.stderr}"
    look_at_run(page, web, found[1])


def make_connection(page: Page, web: str, host: str, key: str) -> None:
    """As the guide says it: Connections, +, the type, the key."""
    page.goto(f"{web}/connections")
    page.get_by_role("button", name="Add Connection").first.click()
    form = page.get_by_role("dialog")
    form.get_by_role("textbox", name="Connection ID").fill("anyscale")
    form.get_by_role("combobox").first.click()
    page.keyboard.type("Anyscale")
    page.get_by_role("option", name="Anyscale", exact=True).click()
    form.get_by_label("API Key").fill(key)
    form.get_by_label("Anyscale host").fill(host)
    picture(page, "anyscale-form")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("cell", name="anyscale", exact=True).first).to_be_visible(timeout=15_000)


def look_at_run(page: Page, web: str, run: str) -> None:
    """The graph, the log with the job's lines, and the button that leads to the job."""
    page.goto(f"{web}/dags/{DAG}/runs/{run}")
    page.get_by_role("button", name="Show Graph").click()
    expect(page.get_by_test_id("rf__node-count_primes").first).to_be_visible(timeout=30_000)
    picture(page, "anyscale-graph")
    page.goto(f"{web}/dags/{DAG}/runs/{run}/tasks/{TASK}")
    expect(page.get_by_text("below 200000 there are 17984 prime numbers").first).to_be_visible(timeout=30_000)
    picture(page, "anyscale-log")
    page.goto(f"{web}/dags/{DAG}/runs/{run}/tasks/{TASK}/details")
    expect(page.get_by_role("link", name="Anyscale job").first).to_be_visible(timeout=15_000)
    picture(page, "anyscale-details")


def picture(page: Page, name: str) -> None:
    """To look at."""
    OUT.mkdir(exist_ok=True)
    page.screenshot(path=str(Path(OUT) / f"{name}.png"))
