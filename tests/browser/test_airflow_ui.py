"""What a person sees: Airflow's UI shows the quickstart's run, its logs after the container is gone, and its
picture."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    """A page of somebody who has signed in by the link of ``skylift env open``."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(stack.must("env", "open", "quickstart", "--print").strip())
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


def test_nobody_is_let_in_without_a_link(browser: Browser, address: str) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{address}/dags/quickstart")
    page.wait_for_url("**/aws_mwaa/aws-console-sso**", timeout=30_000)
    expect(page.get_by_text("skylift env open quickstart")).to_be_visible(timeout=15_000)
    _picture(page, "sign-in")


def test_a_viewer_signs_in_looks_and_signs_out(stack: Stack, browser: Browser, address: str) -> None:
    """A link made with credentials whose policy allows the role Viewer alone."""
    link = _link_of_a_viewer(stack, address)
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    violations: list[str] = []
    page.on("console", lambda message: violations.append(message.text) if "Content Security" in message.text else None)
    began = time.monotonic()
    page.goto(link)
    expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=30_000)
    print(f"sign-in link to UI: {time.monotonic() - began:.2f} s")
    assert violations == []
    assert "#" not in page.url, "the token is not in the history"
    page.goto(f"{address}/dags/quickstart")
    expect(page.get_by_text("quickstart").first).to_be_visible(timeout=30_000)
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
    _picture(page, "viewer")
    started = page.request.post(f"{address}/api/v2/dags/quickstart/dagRuns", data={"logical_date": None})
    assert started.status == 403
    assert page.request.get(f"{address}/api/v2/dags").status == 200
    other = browser.new_context().new_page()
    other.goto(link)
    expect(other.get_by_text("was used before")).to_be_visible(timeout=15_000)
    _picture(other, "link-used-twice")
    session = {one["name"]: one["value"] for one in page.context.cookies()}["_token"]
    page.goto(f"{address}/api/v2/auth/logout")
    expect(page.get_by_text("You have signed out")).to_be_visible(timeout=15_000)
    assert page.context.cookies() == []
    again = other.request.get(f"{address}/api/v2/dags", headers={"Authorization": f"Bearer {session}"})
    assert again.status == 403, "the session itself is over"


def _link_of_a_viewer(stack: Stack, address: str) -> str:
    iam, sts = stack.client("iam"), stack.client("sts")
    owner = sts.get_caller_identity()
    trust = {"Effect": "Allow", "Principal": {"AWS": owner["Arn"]}, "Action": "sts:AssumeRole"}
    where = f"arn:aws:airflow:us-east-1:{owner['Account']}:role/quickstart/Viewer"
    looks = {"Effect": "Allow", "Action": "airflow:CreateWebLoginToken", "Resource": where}
    arn = iam.create_role(RoleName="looks", AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="looks", PolicyName="looks", PolicyDocument=_policy(looks))
    keys = sts.assume_role(RoleArn=arn, RoleSessionName="anna")["Credentials"]
    mwaa = stack.client(
        "mwaa",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    token = mwaa.create_web_login_token(Name="quickstart")
    assert token["AirflowIdentity"] == "assumed-role/looks/anna"
    return f"{address}/aws_mwaa/aws-console-sso?login=true#{token['WebToken']}"


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _picture(page: Page, name: str) -> None:
    OUT.mkdir(exist_ok=True)
    page.screenshot(path=str(OUT / f"{name}.png"))
