"""What a person sees: Airflow's UI shows the quickstart's run, its logs after the container is gone, and its picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.stack import QUICKSTART, Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

OUT = Path(__file__).with_name("out")
"""Pictures to look at; not in git."""

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def address(stack: Stack) -> str:
    """The quickstart's web address, after one DAG run that succeeded."""
    stack.must("up", str(QUICKSTART), "--run", seconds=400)
    host = json.loads(stack.must("env", "show", "quickstart", "--json"))["WebserverUrl"]
    return f"http://{host}"


@pytest.fixture(scope="module")
def page(stack: Stack, address: str) -> Iterator[Page]:
    """A browser that signed in by the login form, as a person does."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(address)
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill(stack.must("env", "password", "quickstart").strip())
        page.locator("button[type=submit]").click()
        expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=30_000)
        yield page
        browser.close()


def test_the_run_is_shown_with_its_logs(stack: Stack, page: Page, address: str) -> None:
    api = stack.airflow("quickstart")
    runs = api._pages("/api/v2/dags/quickstart/dagRuns", "dag_runs")
    run_id = runs[0]["dag_run_id"]
    page.goto(f"{address}/dags/quickstart/runs/{run_id}/tasks/draw")
    expect(page.get_by_text("Success").first).to_be_visible(timeout=30_000)
    # Written by the DAG's own code, in a container that is gone by now; read back from CloudWatch Logs.
    expect(page.get_by_text("2014 was the wettest year").first).to_be_visible(timeout=30_000)
    _picture(page, "task-log")


def test_the_plugin_shows_the_picture_that_the_dag_drew(page: Page, address: str) -> None:
    page.goto(f"{address}/plugin/seattle-weather")
    frame = page.frame_locator("iframe").first
    expect(frame.get_by_text("49% of all days were sunny").first).to_be_visible(timeout=30_000)
    drawn = frame.get_by_alt_text("Mean daily maximum by month").first
    expect(drawn).to_be_visible(timeout=30_000)
    assert drawn.evaluate("picture => picture.naturalWidth") > 100, "the picture is not there"
    _picture(page, "plugin")


def test_nobody_is_let_in_without_the_password(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page()
        page.goto(f"{address}/dags/quickstart")
        page.wait_for_url("**/auth/login**", timeout=30_000)
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill("wrong")
        page.locator("button[type=submit]").click()
        expect(page.get_by_text("Invalid").first).to_be_visible(timeout=15_000)
        browser.close()


def _picture(page: Page, name: str) -> None:
    OUT.mkdir(exist_ok=True)
    page.screenshot(path=str(OUT / f"{name}.png"))
