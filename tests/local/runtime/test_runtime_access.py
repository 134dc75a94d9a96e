"""Sign-in, sign-out and rights on a real API server of the current Airflow."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from tests.airflow_access import MENU, AccessSite, access_site, differences

from skylift.core.access_tokens import TokenUse
from skylift.core.roles import Role

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessSite]:
    with access_site(Path(sys.prefix), tmp_path_factory.mktemp("access")) as one:
        yield one


@pytest.mark.parametrize("role", Role)
def test_every_role_may_do_what_the_table_says(site: AccessSite, role: Role) -> None:
    assert differences(site, role) == []


@pytest.mark.parametrize("role", Role)
def test_the_menu_shows_what_the_role_may_open(site: AccessSite, role: Role) -> None:
    shown = json.loads(site.ask("GET", "/ui/auth/menus", Authorization=f"Bearer {site.session(role)}").body)
    assert set(shown["authorized_menu_items"]) == MENU[role]


def test_the_ui_knows_who_has_signed_in(site: AccessSite) -> None:
    me = json.loads(site.ask("GET", "/ui/auth/me", Authorization=f"Bearer {site.session(Role.VIEWER)}").body)
    assert "user/anna" in json.dumps(me)


def test_the_session_is_a_cookie_for_twelve_hours_that_scripts_cannot_read(site: AccessSite) -> None:
    answer = site.login(site.token(Role.VIEWER))
    cookie = SimpleCookie(answer.headers["set-cookie"])["_token"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (True, "lax", "/", "43200")
    assert json.loads(answer.body) == {"identity": "user/anna", "role": "Viewer"}
    part = cookie.value.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=="))
    assert claims["exp"] - claims["iat"] == 43200
    assert site.ask("GET", "/api/v2/dags", Cookie=f"_token={cookie.value}").status == 200


def test_of_a_hundred_uses_of_a_token_at_once_one_wins(site: AccessSite) -> None:
    token = site.token(Role.VIEWER)
    counted: Counter[int] = Counter()
    threads = [threading.Thread(target=lambda: counted.update([site.login(token).status])) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == {200: 1, 403: 99}


def test_a_sign_in_that_another_site_sends_is_refused(site: AccessSite) -> None:
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert site.login(site.token(Role.VIEWER), **headers).status == 403
    same = {"Sec_Fetch_Site": "same-origin", "Origin": f"http://127.0.0.1:{site.port}"}
    assert site.login(site.token(Role.VIEWER), **same).status == 200


def test_a_worthless_cookie_is_no_hindrance(site: AccessSite) -> None:
    page = site.ask("GET", "/aws_mwaa/aws-console-sso?login=true", Cookie="_token=worthless")
    assert page.status == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "Max-Age=0" in page.headers["set-cookie"], "so that the sign-in's own cookie stays"


def test_sign_out_ends_the_session(site: AccessSite) -> None:
    session = site.session(Role.ADMIN)
    cookie = {"Cookie": f"_token={session}"}
    first = site.ask("GET", "/api/v2/auth/logout", **cookie)
    assert (first.status, first.headers["location"]) == (307, "/aws_mwaa/logout")
    second = site.ask("GET", first.headers["location"], **cookie)
    assert second.status == 200
    assert any('_token=""' in one for one in second.headers.get_all("set-cookie"))
    assert site.ask("GET", "/api/v2/dags", Authorization=f"Bearer {session}").status == 403
    assert site.ask("GET", "/api/v2/dags", **cookie).status in {401, 403}


def test_nobody_comes_in_without_a_session(site: AccessSite) -> None:
    assert site.ask("GET", "/api/v2/dags").status == 401
    there = site.ask("GET", "/api/v2/auth/login?next=/dags")
    assert (there.status, there.headers["location"]) == (307, "/aws_mwaa/aws-console-sso?next=%2Fdags")


def command(site: AccessSite, text: str, token: str = "") -> tuple[int, dict[str, str]]:
    bearer = f"Bearer {token or site.token(Role.ADMIN, TokenUse.CLI)}"
    answer = site.ask("POST", "/aws_mwaa/cli", text, Authorization=bearer, Content_Type="text/plain")
    found = json.loads(answer.body)
    return answer.status, {
        name: base64.b64decode(value).decode() if name != "message" else value for name, value in found.items()
    }


def test_airflows_command_line_runs_over_http(site: AccessSite) -> None:
    token = site.token(Role.ADMIN, TokenUse.CLI)
    status, said = command(site, "variables set colour blue", token)
    assert status == 200, said
    assert command(site, "variables get colour", token)[0] == 403, "a token works once"
    status, said = command(site, "variables get colour")
    assert (status, said["stdout"].strip().splitlines()[-1]) == (200, "blue")
    status, said = command(site, "variables get shape")
    assert (status, "shape" in said["stderr"]) == (400, True)
    status, said = command(site, "roles list")
    assert status == 400
    assert "belongs to the FAB auth manager" in said["stderr"]
    assert command(site, "version", site.token(Role.ADMIN))[0] == 403, "a web token is for signing in"
