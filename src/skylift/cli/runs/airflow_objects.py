"""Connections and variables of an environment's Airflow: in its database, over its REST API."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from skylift.cli.runs.airflow_api import AirflowApi, quoted
from skylift.core.errors import Refused

MEMBERS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


def connection_of(name: str, text: str) -> dict[str, Any]:
    """The members of a connection, from a URI or JSON as Airflow has them.

    Raises:
        Refused: it is neither; the text does not tell it, as it may have a password.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise Refused(f"The value of {name} is not JSON (column {_column(error)}).") from error
        return connection_from(name, found)
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError as error:
        raise Refused(f"The value of {name} is not a URI.") from error
    if not url.scheme:
        raise Refused(f"The value of {name} must be a URI (type://login:password@host:port/schema) or JSON.")
    extra = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
    members = {
        "conn_type": {"postgresql": "postgres"}.get(url.scheme, url.scheme.replace("-", "_")),
        "host": urllib.parse.unquote(url.hostname or ""),
        "login": urllib.parse.unquote(url.username or ""),
        "password": urllib.parse.unquote(url.password or ""),
        "schema": urllib.parse.unquote(url.path.lstrip("/")),
        "port": port,
        "extra": extra.get("__extra__") or (json.dumps(extra) if extra else ""),
    }
    return {key: value for key, value in members.items() if value not in ("", None)}


def connection_from(name: str, found: Any) -> dict[str, Any]:
    """The members of a connection from an object. Raises ``Refused`` that names the member."""
    if isinstance(found, str):
        return connection_of(name, found)
    if not isinstance(found, dict) or not found.get("conn_type"):
        raise Refused(f"The connection {name} needs conn_type.")
    if unknown := sorted(set(found) - set(MEMBERS) - {"is_encrypted", "is_extra_encrypted", "uri", "connection_id"}):
        raise Refused(f"The connection {name} has {', '.join(unknown)}, which Airflow does not know.")
    members = {key: found[key] for key in MEMBERS if found.get(key) not in ("", None)}
    if not isinstance(members.get("extra", ""), str):
        members["extra"] = json.dumps(members["extra"])
    return members


class AirflowObjects:
    """Connections and variables. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api

    def connections(self) -> dict[str, dict[str, Any]]:
        """By id, with Airflow's members; Airflow hides passwords."""
        return {one["connection_id"]: one for one in self._api.pages("/api/v2/connections", "connections")}

    def set_connection(self, name: str, members: Mapping[str, Any], *, new: bool) -> None:
        """Makes a connection, or replaces all its members."""
        if new:
            self._api.call("POST", "/api/v2/connections", {"connection_id": name, **members})
            return
        # What is not named would stay, the password above all.
        whole = {key: members.get(key) for key in MEMBERS}
        self._api.call("PATCH", f"/api/v2/connections/{quoted(name)}", {"connection_id": name, **whole})

    def delete_connection(self, name: str) -> None:
        """Deletes a connection."""
        self._api.call("DELETE", f"/api/v2/connections/{quoted(name)}")

    def variables(self) -> dict[str, dict[str, Any]]:
        """By key, with Airflow's members; Airflow hides values whose key looks secret."""
        return {one["key"]: one for one in self._api.pages("/api/v2/variables", "variables")}

    def set_variable(self, name: str, value: str, description: str | None, *, new: bool) -> None:
        """Makes a variable, or gives it another value."""
        body: dict[str, Any] = {"key": name, "value": value, "description": description}
        if new:
            self._api.call("POST", "/api/v2/variables", body)
            return
        mask = "value" if description is None else "value&update_mask=description"
        self._api.call("PATCH", f"/api/v2/variables/{quoted(name)}?update_mask={mask}", body)

    def delete_variable(self, name: str) -> None:
        """Deletes a variable."""
        self._api.call("DELETE", f"/api/v2/variables/{quoted(name)}")


def _column(error: ValueError) -> int:
    return error.colno if isinstance(error, json.JSONDecodeError) else 0
