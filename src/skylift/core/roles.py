"""Airflow's roles and what each may do: one table, after the default roles of Airflow's FAB provider. Pure.

The control plane decides which role a caller gets; the auth manager in the API server decides what the role may do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """The five roles, from the one with fewest rights to the one with all. Each has the rights of those before it."""

    PUBLIC = "Public"
    VIEWER = "Viewer"
    USER = "User"
    OP = "Op"
    ADMIN = "Admin"


RANK = {role: number for number, role in enumerate(Role)}

SEEN_BY_VIEWERS = {"GET": Role.VIEWER, "MENU": Role.VIEWER}
SEEN_BY_OPS = {"GET": Role.OP, "MENU": Role.OP}
KEPT_BY_OPS = {"GET": Role.OP, "POST": Role.OP, "PUT": Role.OP, "DELETE": Role.OP, "MENU": Role.OP}

RIGHTS: Mapping[str, Mapping[str, Role]] = {
    "DAG": {"GET": Role.VIEWER, "PUT": Role.USER, "DELETE": Role.USER, "MENU": Role.VIEWER},
    # Also backfills, and clearing.
    "RUN": {"GET": Role.VIEWER, "POST": Role.USER, "PUT": Role.USER, "DELETE": Role.USER, "MENU": Role.VIEWER},
    "TASK": {"GET": Role.VIEWER, "POST": Role.USER, "PUT": Role.USER, "DELETE": Role.USER, "MENU": Role.VIEWER},
    "TASK_LOGS": {"GET": Role.VIEWER},
    "CODE": {"GET": Role.VIEWER},
    "VERSION": {"GET": Role.VIEWER},
    "WARNING": {"GET": Role.VIEWER},
    "DEPENDENCIES": SEEN_BY_VIEWERS,
    "XCOM": {"GET": Role.VIEWER, "POST": Role.OP, "PUT": Role.OP, "DELETE": Role.OP, "MENU": Role.OP},
    "HITL_DETAIL": {"GET": Role.VIEWER, "PUT": Role.USER, "MENU": Role.OP},
    "AUDIT_LOG": {"GET": Role.ADMIN, "MENU": Role.ADMIN},
    "ASSET": {"GET": Role.VIEWER, "POST": Role.USER, "PUT": Role.OP, "DELETE": Role.OP, "MENU": Role.VIEWER},
    "ASSET_ALIAS": {"GET": Role.VIEWER},
    "POOL": {"GET": Role.VIEWER, "POST": Role.OP, "PUT": Role.OP, "DELETE": Role.OP, "MENU": Role.OP},
    "CONNECTION": KEPT_BY_OPS,
    "VARIABLE": KEPT_BY_OPS,
    "CONFIGURATION": SEEN_BY_OPS,
    "CLUSTER_ACTIVITY": SEEN_BY_VIEWERS,
    "IMPORT_ERRORS": SEEN_BY_VIEWERS,
    "JOBS": SEEN_BY_VIEWERS,
    "WEBSITE": SEEN_BY_VIEWERS,
    # Airflow asks with GET for what FAB grants with MENU.
    "DOCS": SEEN_BY_VIEWERS,
    "PLUGINS": SEEN_BY_OPS,
    "PROVIDERS": SEEN_BY_OPS,
    "TRIGGERS": {"GET": Role.ADMIN, "MENU": Role.ADMIN},
}
"""Resource (Airflow's name of it) -> method -> the lowest role that may. What is not here is Admin's alone, also what a
later Airflow adds."""

MENU_OF = {
    "REQUIRED_ACTIONS": "HITL_DETAIL",
    "ASSETS": "ASSET",
    "CONFIG": "CONFIGURATION",
    "CONNECTIONS": "CONNECTION",
    "DAGS": "DAG",
    "DEADLINES": "RUN",
    "POOLS": "POOL",
    "VARIABLES": "VARIABLE",
    "XCOMS": "XCOM",
}
"""Item of the UI's menu -> resource, where the names differ."""

PARTS_OF = {"TASK_INSTANCE": ("RUN", "TASK")}
"""What belongs to a DAG and needs the rights on several resources."""


def may(role: Role, resource: str, method: str) -> bool:
    """Whether a role may use a method (GET, POST, PUT, DELETE, MENU) on a resource."""
    return RANK[role] >= RANK[RIGHTS.get(resource, {}).get(method, Role.ADMIN)]


def may_of_dag(role: Role, entity: str, method: str) -> bool:
    """Whether a role may use a method on what belongs to a DAG (``RUN``, ``XCOM`` ...; "": the DAG itself).

    Whoever may change a part must also be allowed to change the DAG.
    """
    if not entity:
        return may(role, "DAG", method)
    whole = may(role, "DAG", "GET" if method == "GET" else "PUT")
    return whole and all(may(role, part, method) for part in PARTS_OF.get(entity, (entity,)))


def sees(role: Role, menu_item: str) -> bool:
    """Whether a role sees an item of the UI's menu (``CONNECTIONS``, ``DAGS`` ...)."""
    return may(role, MENU_OF.get(menu_item, menu_item), "MENU")
