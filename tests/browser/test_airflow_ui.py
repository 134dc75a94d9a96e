"""What a person sees: Airflow's UI shows the quickstart's run, its logs after the container is gone, and its
picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
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
def run_id(stack: Stack) -> str:
    """A DAG run of the quickstart that succeeded."""
    done = stack.run("up", str(QUICKSTART), "--run", seconds=400)
    found = re.search(r"run (\S+) of quickstart: success", done.stderr + done.stdout)
    assert found, f"{done.stdout}\n{done.stderr}"
    return found[1]


@pytest.fixture(scope="module")
def address(stack: Stack, run_id: str) -> str:
    """The quickstart's web address."""
    assert run_id
    return "http://" + str(json.loads(stack.must("env", "show", "quickstart", "--json"))["WebserverUrl"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without the calls home that it makes by itself."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(stack: Stack, browser: Browser, address: str) -> Page:
    """A page whose person signed in by the login form."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    _sign_in(page, address, stack.must("env", "password", "quickstart").strip())
    expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=30_000)
    return page


def test_the_run_is_shown_with_its_logs(page: Page, address: str, run_id: str) -> None:
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


def test_nobody_is_let_in_without_the_password(browser: Browser, address: str) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{address}/dags/quickstart")
    page.wait_for_url("**/auth/login**", timeout=30_000)
    _sign_in(page, page.url, "wrong")
    expect(page.get_by_text("Invalid").first).to_be_visible(timeout=15_000)
    assert "/auth/login" in page.url


def _sign_in(page: Page, address: str, password: str) -> None:
    page.goto(address)
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").click()


def _picture(page: Page, name: str) -> None:
    OUT.mkdir(exist_ok=True)
    page.screenshot(path=str(OUT / f"{name}.png"))
