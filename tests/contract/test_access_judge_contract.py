"""The contract of ``AccessJudge`` (control/api/access.py): policies evaluated here, and IAM's own simulation.

Users, roles and policies are in the local cloud's IAM for both. It has no SimulatePrincipalPolicy, so an imitation
answers that call: with real boto3, over HTTP, in both forms that IAM has for several resources.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from skylift.aws.iam_principals import GrantedPolicies, IamPrincipals
from skylift.control.api.access import AccessJudge
from skylift.control.api.judges import PolicyJudge, SimulatingJudge
from skylift.core.iam.evaluate import AccessRequest, AppliedPolicies, evaluate
from skylift.core.iam.policy import PolicyKind, read_policy
from skylift.core.iam.principal import principal_of
from skylift.testing import Cloud, running_cloud
from skylift.wire.app import WireApp
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller
from skylift.wire.serve import serving
from skylift.wire.signing.keys import StaticKeys

pytestmark = pytest.mark.contract
LOGIN = "airflow:CreateWebLoginToken"
ROLES = "arn:aws:airflow:us-east-1:000000000000:role/"


class Simulator:
    """IAM's GetRole and SimulatePrincipalPolicy, for what is in the local cloud."""

    service = "iam"
    blocking = True

    def __init__(self, iam: IamPrincipals) -> None:
        self._iam = iam
        self.whole = False

    def get_role(self, _caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        arn = self._iam.role_arn(request["RoleName"])
        if not arn:
            raise AwsError("NoSuchEntity", "there is no such role", 404)
        return {"Role": {"Arn": arn, "RoleName": request["RoleName"], "RoleId": "AROAEXAMPLEEXAMPLE", "Path": "/"}}

    def simulate_principal_policy(self, _caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        kind, _, name = request["PolicySourceArn"].split(":", 5)[-1].partition("/")
        granted = self._iam.policies(kind, name.rpartition("/")[2])
        if granted is None:
            raise AwsError("NoSuchEntity", "there is no such principal", 404)
        (action,) = request["ActionNames"]
        found = {one: _outcome(granted, action, one) for one in request["ResourceArns"]}
        self.whole = not self.whole
        if self.whole:
            results = [_result(action, one, outcome) for one, outcome in found.items()]
        else:
            specific = [{"EvalResourceName": one, "EvalResourceDecision": outcome} for one, outcome in found.items()]
            results = [{**_result(action, "*", "implicitDeny"), "ResourceSpecificResults": specific}]
        return {"EvaluationResults": results, "IsTruncated": False}


def _outcome(granted: GrantedPolicies, action: str, resource: str) -> str:
    boundary = read_policy(granted.boundary[1], PolicyKind.BOUNDARY) if granted.boundary else None
    policies = AppliedPolicies(tuple(read_policy(one) for _, one in granted.identity), boundary)
    return evaluate(AccessRequest(principal_of(granted.entity), action, resource), policies).outcome.value


def _result(action: str, resource: str, outcome: str) -> dict[str, Any]:
    return {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": outcome}


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """A judge, and the IAM whose policies it judges by."""

    judge: AccessJudge
    iam: Any
    clock: Clock

    def role(self, *statements: Mapping[str, Any], path: str = "/", **more: Any) -> Caller:
        """Somebody in a session of a new role with one inline policy."""
        name = f"r{uuid.uuid4().hex[:8]}"
        trust = _policy({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
        self.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust, **more)
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=_policy(*statements))
        return _caller(f"arn:aws:sts::000000000000:assumed-role/{name}/anna")

    def allowed(self, caller: Caller, *resources: str, action: str = LOGIN) -> set[str]:
        refused = self.judge.refusals(caller, action, [ROLES + one for one in resources])
        assert all(caller.principal in why and action in why for why in refused.values())
        return {one for one in resources if ROLES + one not in refused}


def _caller(principal: str) -> Caller:
    return Caller("ASIAEXAMPLE", principal, "000000000000", "us-east-1")


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(resource: str, action: str | Sequence[str] = LOGIN, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": ROLES + resource, **more}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("iam")) as one:
        yield one


@pytest.fixture(params=["evaluate", "simulate"])
def world(request: pytest.FixtureRequest, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in cloud.variables.items():
        monkeypatch.setenv(name, value)
    boto3.setup_default_session()
    iam, clock = IamPrincipals("us-east-1"), Clock()
    with ExitStack() as stack:
        judge: AccessJudge = PolicyJudge(iam, clock)
        if request.param == "simulate":
            url = stack.enter_context(serving(WireApp([Simulator(iam)], StaticKeys([cloud.key]))))
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            boto3.setup_default_session()
            judge = SimulatingJudge(IamPrincipals("us-east-1"))
        yield World(judge, cloud.client("iam"), clock)
    monkeypatch.undo()
    boto3.setup_default_session()


def test_what_a_policy_allows_is_allowed_and_nothing_else(world: World) -> None:
    anna = world.role(allow("flight/Viewer"))
    assert world.allowed(anna, "flight/Admin", "flight/Viewer", "other/Viewer") == {"flight/Viewer"}
    assert world.allowed(anna, "flight/Viewer", action="airflow:InvokeRestApi") == set()


def test_one_resource_is_judged_like_several(world: World) -> None:
    anna = world.role(allow("*/Op"))
    for _ in range(2):  # the imitation alternates between its two forms
        assert world.allowed(anna, "flight/Op") == {"flight/Op"}
        assert world.allowed(anna, "flight/User") == set()


def test_a_deny_wins(world: World) -> None:
    anna = world.role(allow("flight/*"), {**allow("flight/Admin"), "Effect": "Deny"})
    assert world.allowed(anna, "flight/Admin", "flight/Op") == {"flight/Op"}


def test_a_role_with_a_path_is_found(world: World) -> None:
    assert world.allowed(world.role(allow("flight/User"), path="/people/"), "flight/User") == {"flight/User"}


def test_a_boundary_limits(world: World) -> None:
    name = f"b{uuid.uuid4().hex[:8]}"
    arn = world.iam.create_policy(PolicyName=name, PolicyDocument=_policy(allow("flight/Viewer")))["Policy"]["Arn"]
    anna = world.role(allow("flight/*"), PermissionsBoundary=arn)
    assert world.allowed(anna, "flight/Admin", "flight/Viewer") == {"flight/Viewer"}


def test_users_have_their_groups_policies_and_attached_ones(world: World) -> None:
    name = f"u{uuid.uuid4().hex[:8]}"
    arn = world.iam.create_user(UserName=name)["User"]["Arn"]
    assert world.allowed(_caller(arn), "flight/Viewer", "flight/Op") == set()
    world.clock.now += 60
    world.iam.create_group(GroupName=name)
    world.iam.add_user_to_group(GroupName=name, UserName=name)
    world.iam.put_group_policy(GroupName=name, PolicyName="own", PolicyDocument=_policy(allow("flight/Viewer")))
    made = world.iam.create_policy(PolicyName=name, PolicyDocument=_policy(allow("flight/Op")))
    world.iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
    assert world.allowed(_caller(arn), "flight/Viewer", "flight/Op") == {"flight/Viewer", "flight/Op"}


def test_a_change_counts_after_a_moment(world: World) -> None:
    anna = world.role(allow("flight/Viewer"))
    assert world.allowed(anna, "flight/Viewer") == {"flight/Viewer"}
    world.iam.delete_role_policy(RoleName=anna.principal.split("/")[1], PolicyName="own")
    world.clock.now += 6
    assert world.allowed(anna, "flight/Viewer") == set()


def test_whoever_does_not_exist_may_do_nothing_and_the_root_everything(world: World) -> None:
    for principal in ("sts::000000000000:assumed-role/nobody/anna", "iam::000000000000:user/nobody"):
        assert world.allowed(_caller(f"arn:aws:{principal}"), "flight/Public") == set()
    assert world.allowed(_caller("arn:aws:iam::000000000000:root"), "flight/Admin") == {"flight/Admin"}
