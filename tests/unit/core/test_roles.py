"""The table of rights: every role's rights on every resource, as Airflow's FAB provider gives them by default."""

from __future__ import annotations

import pytest

from skylift.core.roles import RIGHTS, Role, may, may_of_dag, sees

pytestmark = pytest.mark.unit

READ, CREATE, CHANGE, REMOVE = "GET", "POST", "PUT", "DELETE"
METHODS = (READ, CREATE, CHANGE, REMOVE)
DAG_ENTITIES = [
    "AUDIT_LOG",
    "CODE",
    "DEPENDENCIES",
    "HITL_DETAIL",
    "RUN",
    "TASK",
    "TASK_INSTANCE",
    "TASK_LOGS",
    "VERSION",
    "WARNING",
    "XCOM",
]
VIEWS = ("CLUSTER_ACTIVITY", "DOCS", "IMPORT_ERRORS", "JOBS", "PLUGINS", "PROVIDERS", "TRIGGERS", "WEBSITE")


def rights(role: Role) -> set[str]:
    """All that a role may do, in words."""
    own = {f"{method} {name}" for name in RIGHTS for method in METHODS if may(role, name, method)}
    of_dags = {f"{method} dag {name}" for name in DAG_ENTITIES for method in METHODS if may_of_dag(role, name, method)}
    return own | of_dags


def added(role: Role, before: Role) -> set[str]:
    return {right for right in rights(role) - rights(before) if " dag " in right}


def test_public_may_do_nothing() -> None:
    assert rights(Role.PUBLIC) == set()
    assert not any(sees(Role.PUBLIC, item) for item in ("DAGS", "DOCS", "ASSETS"))


def test_a_viewer_reads_dags_and_nothing_of_operations() -> None:
    unseen = {"AUDIT_LOG"}
    assert {name for name in DAG_ENTITIES if may_of_dag(Role.VIEWER, name, READ)} == set(DAG_ENTITIES) - unseen
    assert not any(may_of_dag(Role.VIEWER, name, method) for name in ("", *DAG_ENTITIES) for method in METHODS[1:])
    assert [view for view in VIEWS if may(Role.VIEWER, view, READ)] == [
        "CLUSTER_ACTIVITY",
        "DOCS",
        "IMPORT_ERRORS",
        "JOBS",
        "WEBSITE",
    ]
    assert may(Role.VIEWER, "POOL", READ)
    assert not any(may(Role.VIEWER, name, READ) for name in ("CONNECTION", "VARIABLE", "CONFIGURATION"))


def test_a_user_also_runs_dags() -> None:
    changes = {f"{method} dag {name}" for name in ("RUN", "TASK", "TASK_INSTANCE") for method in METHODS[1:]}
    assert added(Role.USER, Role.VIEWER) == changes | {"PUT dag HITL_DETAIL"}
    assert may_of_dag(Role.USER, "", CHANGE)
    assert may_of_dag(Role.USER, "", REMOVE)
    assert (may(Role.USER, "ASSET", CREATE), may(Role.USER, "ASSET", REMOVE)) == (True, False)


def test_an_op_also_keeps_connections_and_the_like() -> None:
    assert added(Role.OP, Role.USER) == {"POST dag XCOM", "PUT dag XCOM", "DELETE dag XCOM"}
    for name in ("CONNECTION", "VARIABLE", "POOL"):
        assert all(may(Role.OP, name, method) for method in METHODS)
        assert not any(may(Role.USER, name, method) for method in METHODS[1:])
    assert all(may(Role.OP, name, READ) for name in ("CONFIGURATION", "PLUGINS", "PROVIDERS"))
    assert not may(Role.OP, "AUDIT_LOG", READ)
    assert not may(Role.OP, "TRIGGERS", READ)


def test_an_admin_may_do_everything_also_what_is_new() -> None:
    for name in (*RIGHTS, "WHAT_A_LATER_AIRFLOW_ADDS"):
        assert all(may(Role.ADMIN, name, method) for method in METHODS)
    for role in (Role.PUBLIC, Role.VIEWER, Role.USER, Role.OP):
        assert not may(role, "WHAT_A_LATER_AIRFLOW_ADDS", READ)
        assert not may_of_dag(role, "WHAT_A_LATER_AIRFLOW_ADDS", READ)
        assert not sees(role, "WHAT_A_LATER_AIRFLOW_ADDS")


def test_the_menu_is_the_roles_own() -> None:
    items = [
        "REQUIRED_ACTIONS",
        "ASSETS",
        "AUDIT_LOG",
        "CONFIG",
        "CONNECTIONS",
        "DAGS",
        "DEADLINES",
        "DOCS",
        "JOBS",
        "PLUGINS",
        "POOLS",
        "PROVIDERS",
        "VARIABLES",
        "XCOMS",
    ]
    viewer = {item for item in items if sees(Role.VIEWER, item)}
    assert viewer == {"ASSETS", "DAGS", "DEADLINES", "DOCS", "JOBS"}
    assert {item for item in items if sees(Role.USER, item)} == viewer
    assert {item for item in items if not sees(Role.OP, item)} == {"AUDIT_LOG"}
    assert all(sees(Role.ADMIN, item) for item in items)
