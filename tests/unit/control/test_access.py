"""Who may use which operation of the MWAA API, and with which role one comes into an environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore import xform_name
from tests.control_scenes import SETTINGS, request
from tests.unit.control.test_control_provider import Rows, row

from skylift.control.api.access import AccessRules, AdministratorJudge
from skylift.control.api.provider import MwaaProvider
from skylift.core.roles import Role
from skylift.wire.errors import AwsError
from skylift.wire.models import model_of
from skylift.wire.provider import Caller

pytestmark = pytest.mark.unit
ANNA = Caller("AKIA", "arn:aws:sts::000000000000:assumed-role/Analyst/anna", "000000000000", "us-east-1")
OWNER = Caller("AKIA", "arn:aws:iam::000000000000:user/skylift", "000000000000", "us-east-1")
ARN = "arn:aws:airflow:us-east-1:000000000000:"


class Asked:
    """Allows what is listed, and remembers what was asked."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = {ARN + one for one in allowed}
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def refusals(self, caller: Caller, action: str, resources: Sequence[str]) -> Mapping[str, str]:
        self.asked.append((action, tuple(resources)))
        return {one: f"{caller.principal} may not {action} {one}" for one in resources if one not in self.allowed}


def minimal(operation: str) -> dict[str, Any]:
    """A request of an operation about the environment "flight"."""
    more = {
        "ResourceArn": f"{ARN}environment/flight",
        "Tags": {"a": "b"},
        "tagKeys": ["a"],
        "EnvironmentName": "flight",
        "MetricData": [],
        "Path": "/dags",
        "Method": "GET",
    }
    shape = model_of("mwaa").operation_model(operation).input_shape
    wanted = request(Name="flight") | more
    return {name: wanted[name] for name in shape.required_members}


@pytest.mark.parametrize("operation", model_of("mwaa").operation_names)
def test_every_operation_is_judged_before_anything_else(operation: str) -> None:
    judge, rows = Asked(), Rows()
    mwaa = MwaaProvider(rows, SETTINGS, lambda: None, judge)  # type: ignore[arg-type]
    rows.rows["flight"] = row()
    before = dict(rows.rows)
    with pytest.raises(AwsError) as caught:
        getattr(mwaa, xform_name(operation))(ANNA, minimal(operation))
    assert (caught.value.code, caught.value.status) == ("AccessDeniedException", 403)
    assert ANNA.principal in caught.value.message
    ((action, resources),) = judge.asked
    assert action == f"airflow:{operation}"
    roles = [f"{ARN}role/flight/{role}" for role in ("Admin", "Op", "User", "Viewer", "Public")]
    by_role = operation in {"CreateWebLoginToken", "InvokeRestApi"}
    alone = "*" if operation == "ListEnvironments" else f"{ARN}environment/flight"
    assert list(resources) == (roles if by_role else [alone])
    assert rows.rows == before


@pytest.mark.parametrize(
    ("allowed", "role"),
    [
        (("Viewer",), Role.VIEWER),
        (("Viewer", "Op"), Role.OP),
        (("Admin", "Op", "User", "Viewer", "Public"), Role.ADMIN),
        (("Public",), Role.PUBLIC),
    ],
)
def test_the_role_with_most_rights_wins(allowed: tuple[str, ...], role: Role) -> None:
    judge = Asked(*(f"role/flight/{one}" for one in allowed))
    assert AccessRules(judge, SETTINGS).role(ANNA, "CreateWebLoginToken", "flight") is role


def test_a_role_in_another_environment_counts_for_nothing() -> None:
    rules = AccessRules(Asked("role/other/Admin", "environment/flight"), SETTINGS)
    with pytest.raises(AwsError, match="policies allow no Airflow role") as caught:
        rules.role(ANNA, "InvokeRestApi", "flight")
    assert caught.value.status == 403


def test_administrators_may_do_everything_and_nobody_else() -> None:
    rules = AccessRules(AdministratorJudge([OWNER.principal], Asked()), SETTINGS)
    rules.require(OWNER, "DeleteEnvironment", "flight")
    assert rules.role(OWNER, "CreateWebLoginToken", "flight") is Role.ADMIN
    with pytest.raises(AwsError, match="may not airflow:ListEnvironments"):
        rules.require(ANNA, "ListEnvironments")
