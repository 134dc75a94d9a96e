"""The addresses under ``/aws_mwaa``, as on MWAA: the page of a sign-in link, sign-in, sign-out, Airflow's command line.

The token of a link is in its fragment, which browsers never send, so it is in no log. The page's script posts it.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from skylift.core.access_tokens import SESSION_SECONDS, TokenUse
from skylift.core.errors import Refused
from skylift.runtime.auth.commands import CommandRunner, words_of
from skylift.runtime.auth.sessions import COOKIE, has_fab, is_secure, revoke, root_path, session_token
from skylift.runtime.auth.tokens import TokenReader

PREFIX_OF_MWAA = "/pluginsv2/aws_mwaa"
"""Where MWAA has the same addresses for Airflow 3. Airflow reserves ``/pluginsv2``, so no plugin's app can be there."""

MOST_BODY = 64 * 1024

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:38rem;margin:20vh auto;padding:0 1rem;color-scheme:light dark}"
    "code{font-size:.9em;overflow-wrap:anywhere}"
)
_SCRIPT = """
const say = text => { document.getElementById("said").textContent = text; };
const token = location.hash.slice(1);
const next = new URLSearchParams(location.search).get("next") || "";
const home = document.body.dataset.home;
function target() {
  try {
    const url = new URL(next || home, location.href);
    return url.origin === location.origin ? url.href : home;
  } catch { return home; }
}
async function signIn() {
  history.replaceState(null, "", location.pathname + location.search);
  say("Signing in …");
  const answer = await fetch("login", {method: "POST", body: new URLSearchParams({token}), credentials: "same-origin"});
  if (answer.ok) location.replace(target());
  else say((await answer.json()).message);
}
if (token) signIn().catch(() => say("Airflow does not answer. Reload this page's link."));
"""


class OtherPath:
    """Middleware: MWAA's second address leads to the first."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = str(scope.get("path", ""))
        if scope["type"] == "http" and path.startswith(PREFIX_OF_MWAA + "/"):
            ours = path.removeprefix("/pluginsv2")
            scope = {**scope, "path": ours, "raw_path": ours.encode()}
        await self._app(scope, receive, send)


def web_app(reader: TokenReader, environment: str) -> Starlette:
    """The app that Airflow mounts."""
    access = _Access(reader, environment)
    return Starlette(
        routes=[
            Route("/aws-console-sso", access.page, methods=["GET"]),
            Route("/login", access.sign_in, methods=["POST"]),
            Route("/logout", access.sign_out, methods=["GET"]),
            Route("/cli", access.command, methods=["POST"]),
        ]
    )


class _Access:
    def __init__(self, reader: TokenReader, environment: str) -> None:
        self._reader = reader
        self._environment = environment
        self._commands = CommandRunner()

    async def page(self, _request: Request) -> Response:
        """The page of a sign-in link; without a token it says how to get one."""
        name = escape(self._environment)
        text = (
            f"<p id=said>To sign in to <b>{name}</b> you need a link that your AWS credentials get you:</p>"
            f"<p><code>skylift env open {name}</code></p>"
            f"<p>or <code>aws mwaa create-web-login-token --name {name}</code>. A link works once, for 60 seconds.</p>"
        )
        return _html(text, f"<script>{_SCRIPT}</script>")

    async def sign_in(self, request: Request) -> Response:
        """Takes a web token (form field ``token``), answers with Airflow's session cookie."""
        if _comes_from_another_site(request):
            return _refused("Another site has sent this sign-in. Open the link itself.")
        form = parse_qs((await _body(request)).decode(errors="replace"))
        try:
            entry = await run_in_threadpool(self._reader.accept, form.get("token", [""])[0], TokenUse.WEB)
            session = await run_in_threadpool(session_token, entry)
        except Refused as error:
            return _refused(str(error))
        answer = JSONResponse({"identity": entry.identity, "role": str(entry.role)}, headers=_NOT_KEPT)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=SESSION_SECONDS,
            path=root_path(),
            httponly=True,
            samesite="lax",
            secure=is_secure(request.url.scheme),
        )
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Airflow leads here after its own sign-out. Ends the session also where Airflow does not (3.1)."""
        if token := request.cookies.get(COOKIE):
            await revoke(token)
        answer = _html("<p id=said>You have signed out.</p>")
        answer.delete_cookie(COOKIE, path=root_path(), httponly=True, samesite="lax")
        return answer

    async def command(self, request: Request) -> Response:
        """Runs a command of Airflow's command line (the body) for whoever has a CLI token; answers as MWAA does."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        text = (await _body(request)).decode(errors="replace")
        try:
            await run_in_threadpool(self._reader.accept, token if scheme.lower() == "bearer" else "", TokenUse.CLI)
        except Refused as error:
            return _refused(str(error))
        try:
            words = words_of(text, has_fab())
        except Refused as error:
            return JSONResponse(_encoded("", f"{error}\n"), status_code=400, headers=_NOT_KEPT)
        done = await self._commands.run(words)
        status = 200 if done.exit_code == 0 else 400
        return JSONResponse(_encoded(done.stdout, done.stderr), status_code=status, headers=_NOT_KEPT)


_NOT_KEPT = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}


def _encoded(stdout: str | bytes, stderr: str | bytes) -> dict[str, str]:
    pairs = {"stdout": stdout, "stderr": stderr}
    return {
        name: base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
        for name, value in pairs.items()
    }


def _refused(text: str) -> Response:
    return JSONResponse({"message": text}, status_code=403, headers=_NOT_KEPT)


def _comes_from_another_site(request: Request) -> bool:
    """Somebody else's token must not be posted into a person's browser. Programs send neither header."""
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return True
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            return b""
    return body


def _html(text: str, script: str = "") -> HTMLResponse:
    home = escape(root_path(), quote=True)
    document = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Airflow</title><style>{_STYLE}</style>'
        f'<body data-home="{home}"><h1>Airflow</h1>{text}<p><a href="{home}">To Airflow</a></p>{script}</body></html>'
    )
    policy = (
        f"default-src 'none'; script-src '{_hash(_SCRIPT)}'; style-src '{_hash(_STYLE)}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(document, headers={**_NOT_KEPT, "content-security-policy": policy})


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
