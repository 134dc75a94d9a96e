"""The three operations that lead into an environment's Airflow: CreateWebLoginToken, CreateCliToken, InvokeRestApi."""

from __future__ import annotations

from typing import Any

from skylift.control.api.access import AccessRules
from skylift.control.api.rest_api import RestApi, Visitor
from skylift.control.api.tokens import TokenSigner
from skylift.control.store import Row
from skylift.core.access_tokens import TokenUse, identity_of
from skylift.core.roles import Role
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller


class EnvironmentEntry:
    """Makes tokens, and calls Airflow's REST API for a caller."""

    def __init__(self, access: AccessRules, signer: TokenSigner) -> None:
        self._access = access
        self._signer = signer
        self._rest_api = RestApi(signer)

    def web_login_token(self, caller: Caller, row: Row) -> dict[str, Any]:
        """CreateWebLoginToken's answer."""
        role = self._access.role(caller, "CreateWebLoginToken", row.name)
        identity = identity_of(caller.principal)
        host = web_address(row)
        return {
            "WebToken": self._signer.token(TokenUse.WEB, row.name, identity, role),
            "WebServerHostname": host,
            "IamIdentity": caller.principal,
            "AirflowIdentity": identity,
        }

    def cli_token(self, caller: Caller, row: Row) -> dict[str, Any]:
        """CreateCliToken's answer. Whoever may use the command line is an administrator, as on MWAA."""
        host = web_address(row)
        token = self._signer.token(TokenUse.CLI, row.name, identity_of(caller.principal), Role.ADMIN)
        return {"CliToken": token, "WebServerHostname": host}

    def invoke_rest_api(self, caller: Caller, row: Row, request: dict[str, Any]) -> dict[str, Any]:
        """InvokeRestApi's answer."""
        role = self._access.role(caller, "InvokeRestApi", row.name)
        return self._rest_api.call(Visitor(row.name, web_address(row), identity_of(caller.principal), role), request)


def web_address(row: Row) -> str:
    """Host (and port) of an environment's web server.

    Raises:
        AwsError: it has none yet.
    """
    address = row.facts.get("web.address", "")
    if not address:
        raise AwsError("ValidationException", f"Environment {row.name} is {row.status}: it has no web server yet")
    return address
