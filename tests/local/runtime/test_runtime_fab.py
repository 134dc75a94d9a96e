"""Plugins of Airflow 2's web server with the FAB provider in the requirements, beside skylift's own sign-in: installed
as a layer has it, on a real API server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.airflow_access import AccessSite, access_site, differences

from skylift.core.roles import Role
from skylift.runtime.requirements import install

pytestmark = [pytest.mark.local, pytest.mark.soak, pytest.mark.timeout(600)]

PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from flask import Blueprint
from flask_appbuilder import BaseView, expose

page = Blueprint("old_page", __name__, url_prefix="/old_page")


@page.route("/hello")
def hello():
    return "hello from a blueprint"


class View(BaseView):
    default_view = "show"

    @expose("/")
    def show(self):
        return "hello from a view"


class Old(AirflowPlugin):
    name = "old_pages"
    flask_blueprints = [page]
    appbuilder_views = [{"name": "Old", "category": "Mine", "view": View()}]
    appbuilder_menu_items = [{"name": "Elsewhere", "href": "https://example.org"}]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessSite]:
    folder = tmp_path_factory.mktemp("fab")
    for name in ("plugins", "dags"):
        (folder / name).mkdir()
    install("apache-airflow-providers-fab\n", folder, folder / "site", os.environ)
    (folder / "plugins" / "old.py").write_text(PLUGIN)
    added = {"PYTHONPATH": str(folder / "site"), "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins")}
    with access_site(Path(sys.prefix), folder / "home", **added) as one:
        yield one


def test_pages_of_the_plugin_are_shown(site: AccessSite) -> None:
    session = site.session(Role.VIEWER)
    for path, text in (("/old_page/hello", b"hello from a blueprint"), ("/view/", b"hello from a view")):
        answer = site.ask("GET", f"/pluginsv2{path}", Cookie=f"_token={session}")
        assert (answer.status, text in answer.body) == (200, True), (path, answer.body[:300], site.said())


def test_airflow_lists_the_menu_links(site: AccessSite) -> None:
    answer = site.ask("GET", "/api/v2/plugins", Authorization=f"Bearer {site.session(Role.ADMIN)}")
    [found] = [one for one in json.loads(answer.body)["plugins"] if one["name"] == "old_pages"]
    assert [one["name"] for one in found["appbuilder_menu_items"]] == ["Elsewhere"]


@pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
def test_rights_are_as_without_fab(site: AccessSite, role: Role) -> None:
    assert differences(site, role) == []


def test_mwaas_second_address_of_the_sign_in_is_still_ours(site: AccessSite) -> None:
    assert site.ask("GET", "/pluginsv2/aws_mwaa/aws-console-sso").status == 200
