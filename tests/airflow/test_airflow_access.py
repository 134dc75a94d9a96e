"""Sign-in, sign-out and rights on the older Airflow versions."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.airflow.test_airflow_versions import OLD, venv_of
from tests.airflow_access import MENU, AccessSite, access_site, differences

from skylift.core.roles import Role

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=OLD)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessSite]:
    with access_site(venv_of(request.param), tmp_path_factory.mktemp("access")) as one:
        yield one


@pytest.mark.parametrize("role", Role)
def test_every_role_may_do_what_the_table_says(site: AccessSite, role: Role) -> None:
    assert differences(site, role) == []
    shown = json.loads(site.ask("GET", "/ui/auth/menus", Authorization=f"Bearer {site.session(role)}").body)
    items = set(shown["authorized_menu_items"])
    assert items <= MENU[role]
    assert ("Dags" in items) is (role is not Role.PUBLIC)


def test_a_token_works_once_and_sign_out_ends_the_session(site: AccessSite) -> None:
    token = site.token(Role.VIEWER)
    assert [site.login(token).status for _ in range(2)] == [200, 403]
    session = site.session(Role.VIEWER)
    assert site.ask("GET", "/api/v2/dags", Authorization=f"Bearer {session}").status == 200
    first = site.ask("GET", "/api/v2/auth/logout", Cookie=f"_token={session}")
    assert first.headers["location"] == "/aws_mwaa/logout"
    assert site.ask("GET", "/aws_mwaa/logout", Cookie=f"_token={session}").status == 200
    assert site.ask("GET", "/api/v2/dags", Authorization=f"Bearer {session}").status == 403
