"""Our auth manager: an identity from AWS with one of Airflow's five roles, no users or passwords in Airflow.

Every override takes ``**_``: Airflow adds arguments from one version to the next. The rights are ``core.roles``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf
from jwt import InvalidTokenError

from skylift.core.roles import Role, may, may_of_dag, sees
from skylift.runtime.auth.flask_plugins import leave_out_without_fab
from skylift.runtime.auth.spent import SpentTokens

SIGN_IN = "aws_mwaa/aws-console-sso"
SIGN_OUT = "aws_mwaa/logout"

AIRFLOW_REVOKES = hasattr(BaseAuthManager, "revoke_token")
"""Whether this Airflow ends a session at sign-out (since 3.2)."""


@dataclass(frozen=True)
class Person(BaseUser):
    """Whoever has signed in: a name that tells the AWS identity, and the role."""

    identity: str
    role: Role

    def get_id(self) -> str:
        return self.identity

    def get_name(self) -> str:
        return self.identity


def page(path: str) -> str:
    """The address of one of our pages on this API server, below the path of ``[api] base_url``."""
    return urlsplit(conf.get("api", "base_url", fallback="/") or "/").path.rstrip("/") + "/" + path


class SkyliftAuthManager(BaseAuthManager[Person]):
    """Airflow's interface over the table of rights."""

    def init(self) -> None:
        """Airflow mounts the plugins of Airflow 2 right after this, in the API server."""
        super().init()
        leave_out_without_fab()

    def deserialize_user(self, token: dict[str, Any]) -> Person:
        return Person(str(token["sub"]), Role(token["role"]))

    def serialize_user(self, user: Person) -> dict[str, Any]:
        return {"sub": user.identity, "role": str(user.role)}

    def get_url_login(self, **_: Any) -> str:
        return page(SIGN_IN)

    def get_url_logout(self) -> str:
        return page(SIGN_OUT)

    async def get_user_from_token(self, token: str) -> Person:
        """Refuses also what was signed out, which Airflow 3.1 does not."""
        claims = None if AIRFLOW_REVOKES else await self._get_token_validator().avalidated_claims(token)
        if claims and await asyncio.to_thread(SpentTokens().knows, str(claims.get("jti", ""))):
            raise InvalidTokenError("Token has been revoked")
        found: Person = await super().get_user_from_token(token)
        return found

    def is_authorized_configuration(self, *, method: str, user: Person, **_: Any) -> bool:
        return may(user.role, "CONFIGURATION", str(method))

    def is_authorized_connection(self, *, method: str, user: Person, **_: Any) -> bool:
        return may(user.role, "CONNECTION", str(method))

    def is_authorized_dag(self, *, method: str, user: Person, access_entity: Any = None, **_: Any) -> bool:
        return may_of_dag(user.role, access_entity.name if access_entity else "", str(method))

    def is_authorized_backfill(self, *, method: str, user: Person, **_: Any) -> bool:
        return may_of_dag(user.role, "RUN", str(method))

    def is_authorized_asset(self, *, method: str, user: Person, **_: Any) -> bool:
        return may(user.role, "ASSET", str(method))

    def is_authorized_asset_alias(self, *, method: str, user: Person, **_: Any) -> bool:
        return may(user.role, "ASSET_ALIAS", str(method))

    def is_authorized_pool(self, *, method: str, user: Person, **_: Any) -> bool:
        return may(user.role, "POOL", str(method))

    def is_authorized_variable(self, *, method: str, user: Person, **_: Any) -> bool:
        return may(user.role, "VARIABLE", str(method))

    def is_authorized_view(self, *, access_view: Any, user: Person, **_: Any) -> bool:
        return may(user.role, access_view.name, "GET")

    def is_authorized_custom_view(self, *, user: Person, **_: Any) -> bool:
        return user.role is Role.ADMIN

    def filter_authorized_menu_items(self, menu_items: Sequence[Any], *, user: Person, **_: Any) -> list[Any]:
        return [item for item in menu_items if sees(user.role, item.name)]

    def filter_authorized_dag_ids(self, *, dag_ids: set[str], user: Person, method: str = "GET", **_: Any) -> set[str]:
        """One decision for all: rights do not differ between DAGs. Runs at every list of DAGs."""
        return set(dag_ids) if may(user.role, "DAG", str(method)) else set()
