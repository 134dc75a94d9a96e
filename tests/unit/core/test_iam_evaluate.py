"""IAM's decisions: the examples and rules of AWS's IAM user guide."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.core.errors import Refused
from skylift.core.iam.evaluate import AccessDecision, AccessOutcome, AccessRequest, AppliedPolicies, evaluate
from skylift.core.iam.policy import Policy, PolicyKind, read_policy
from skylift.core.iam.principal import Principal, principal_of

pytestmark = pytest.mark.unit

HERE, THERE = "111122223333", "444455556666"
MATEO = principal_of(f"arn:aws:iam::{HERE}:user/mateojackson", unique_id="AIDAMATEO")
SESSION = principal_of(f"arn:aws:sts::{HERE}:assumed-role/airflow/run-1", unique_id="AROAAIRFLOW:run-1")
ECS = principal_of("ecs-tasks.amazonaws.com")
BUCKET, OBJECT = "arn:aws:s3:::reports", "arn:aws:s3:::reports/2026/june.csv"


def policy(*statements: dict[str, Any], kind: PolicyKind = PolicyKind.IDENTITY) -> Policy:
    return read_policy({"Version": "2012-10-17", "Statement": list(statements)}, kind, kind.value)


def allow(action: Any, resource: Any = "*", condition: Any = None, **more: Any) -> dict[str, Any]:
    found = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return found | ({"Condition": condition} if condition else {})


def deny(action: Any, resource: Any = "*", condition: Any = None, **more: Any) -> dict[str, Any]:
    return allow(action, resource, condition, **more) | {"Effect": "Deny"}


def to(principal: Any, action: str = "s3:*", resource: Any = (OBJECT, BUCKET), **more: Any) -> dict[str, Any]:
    return allow(action, list(resource), Principal=principal, **more)


def judge(
    who: Principal,
    action: str,
    resource: str = "*",
    *identity: dict[str, Any],
    context: dict[str, Any] | None = None,
    bucket: list[dict[str, Any]] | None = None,
    boundary: list[dict[str, Any]] | None = None,
    session: list[dict[str, Any]] | None = None,
    owner: str = "",
) -> AccessDecision:
    return evaluate(
        AccessRequest(who, action, resource, context or {}, owner),
        AppliedPolicies(
            [policy(*identity)] if identity else [],
            policy(*boundary, kind=PolicyKind.BOUNDARY) if boundary else None,
            [policy(*session, kind=PolicyKind.SESSION)] if session else None,
            policy(*bucket, kind=PolicyKind.RESOURCE) if bucket else None,
        ),
    )


def test_what_nothing_allows_is_denied_in_aws_words() -> None:
    decision = judge(MATEO, "codecommit:ListRepositories")
    assert decision.outcome is AccessOutcome.IMPLICIT_DENY
    assert decision.message == (
        f"User: arn:aws:iam::{HERE}:user/mateojackson is not authorized to perform: codecommit:ListRepositories "
        "because no identity-based policy allows the codecommit:ListRepositories action"
    )


def test_an_explicit_deny_wins_and_names_its_statement() -> None:
    rules = allow("s3:*"), deny("s3:Delete*", f"{BUCKET}/*", Sid="KeepReports")
    decision = judge(MATEO, "s3:DeleteObject", OBJECT, *rules)
    assert decision.outcome is AccessOutcome.EXPLICIT_DENY
    assert str(decision.statement) == "KeepReports"
    assert decision.message.endswith(f"s3:DeleteObject on resource: {OBJECT} with an explicit deny in an "
                                     "identity-based policy")  # fmt: skip
    assert judge(MATEO, "s3:GetObject", OBJECT, *rules).allowed


def test_allow_get_list_deny_reports() -> None:
    """The example of "The difference between explicit and implicit denies"."""
    rules = allow(["iam:Get*", "iam:List*"]), deny("iam:*Report")
    outcomes = {
        action: judge(MATEO, action, "*", *rules).outcome
        for action in ("iam:GetUser", "iam:CreatePolicy", "iam:GetOrganizationsAccessReport")
    }
    assert list(outcomes.values()) == [
        AccessOutcome.ALLOWED,
        AccessOutcome.IMPLICIT_DENY,
        AccessOutcome.EXPLICIT_DENY,
    ]


def test_carlos_may_log_by_his_own_policy_and_read_by_the_buckets() -> None:
    """The example of "Policy evaluation for requests within a single account"."""
    carlos = principal_of(f"arn:aws:iam::{HERE}:user/carlossalazar")
    logs = "arn:aws:s3:::amzn-s3-demo-bucket-carlossalazar-logs"
    rules = allow(["s3:GetBucketLocation", "s3:ListAllMyBuckets"]), allow("s3:*Object*", f"{logs}/*")
    deny_bob = {"Effect": "Deny", "Action": "s3:*", "Resource": [logs, f"{logs}/*"]}
    bucket = [
        to({"AWS": carlos.arn}, "s3:*", (logs, f"{logs}/*")),
        {**deny_bob, "Principal": {"AWS": f"arn:aws:iam::{HERE}:user/bob"}},
    ]
    assert judge(carlos, "s3:PutObject", f"{logs}/today", *rules).allowed
    assert not judge(carlos, "s3:ListBucket", logs, *rules).allowed
    assert judge(carlos, "s3:ListBucket", logs, *rules, bucket=bucket).allowed
    assert judge(principal_of(f"arn:aws:iam::{HERE}:user/bob"), "s3:ListBucket", logs, allow("*"), bucket=bucket).kind \
        is PolicyKind.RESOURCE  # fmt: skip


@pytest.mark.parametrize(
    ("principal", "without_policy", "within_boundary_too"),
    [
        ({"AWS": SESSION.arn}, True, True),
        ({"AWS": SESSION.entity}, True, False),
        ("*", True, False),
        ({"AWS": HERE}, False, False),
        ({"AWS": f"arn:aws:iam::{HERE}:root"}, False, False),
        ({"AWS": f"arn:aws:iam::{HERE}:role/other"}, False, False),
        ({"Service": "ecs-tasks.amazonaws.com"}, False, False),
    ],
    ids=["session", "role", "everyone", "account", "root", "another role", "a service"],
)
def test_what_a_bucket_gives_to_a_role(principal: Any, without_policy: bool, within_boundary_too: bool) -> None:
    """Same account: the session itself gets it whatever else there is; a role within boundary and session policies."""
    elsewhere = [allow("ecs:*")]
    assert judge(SESSION, "s3:GetObject", OBJECT, bucket=[to(principal)]).allowed is without_policy
    for limit in ({"boundary": elsewhere}, {"session": elsewhere}):
        limited = judge(SESSION, "s3:GetObject", OBJECT, bucket=[to(principal)], **limit)  # type: ignore[arg-type]
        assert limited.allowed is within_boundary_too


def test_what_a_bucket_gives_to_a_user_no_boundary_limits() -> None:
    given = [to({"AWS": MATEO.arn})]
    assert judge(MATEO, "s3:GetObject", OBJECT, bucket=given, boundary=[allow("ecs:*")]).allowed
    denied = judge(MATEO, "s3:GetObject", OBJECT, bucket=given, boundary=[deny("s3:*")])
    assert (denied.outcome, denied.kind) == (AccessOutcome.EXPLICIT_DENY, PolicyKind.BOUNDARY)
    assert denied.message.endswith("with an explicit deny in a permissions boundary")


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        ({}, None),
        ({"boundary": [allow("s3:Get*")]}, None),
        ({"boundary": [allow("ecs:*")]}, PolicyKind.BOUNDARY),
        ({"session": [allow("s3:GetObject", f"{BUCKET}/2026/*")]}, None),
        ({"session": [allow("s3:GetObject", f"{BUCKET}/2025/*")]}, PolicyKind.SESSION),
        ({"session": [allow("*")], "boundary": [allow("ecs:*")]}, PolicyKind.BOUNDARY),
    ],
)
def test_boundary_and_session_policies_limit(limits: dict[str, Any], kind: PolicyKind | None) -> None:
    decision = judge(SESSION, "s3:GetObject", OBJECT, allow("s3:*"), **limits)
    assert decision.allowed is (kind is None)
    if kind is not None:
        assert decision.message.endswith(f"because no {kind.value} allows the s3:GetObject action")


def test_across_accounts_both_must_allow() -> None:
    given = [to({"AWS": HERE})]
    ours = allow("s3:GetObject")
    assert judge(MATEO, "s3:GetObject", OBJECT, ours, bucket=given, owner=THERE).allowed
    assert not judge(MATEO, "s3:GetObject", OBJECT, bucket=[to({"AWS": MATEO.arn})], owner=THERE).allowed
    alone = judge(MATEO, "s3:GetObject", OBJECT, ours, owner=THERE)
    assert (alone.allowed, alone.kind) == (False, PolicyKind.RESOURCE)
    assert judge(MATEO, "sqs:SendMessage", f"arn:aws:sqs:us-east-1:{THERE}:q", allow("*")).kind is PolicyKind.RESOURCE


def test_root_may_everything_at_home_but_what_a_resource_denies() -> None:
    root = principal_of(f"arn:aws:iam::{HERE}:root")
    assert judge(root, "iam:CreateUser").allowed
    assert not judge(root, "s3:GetObject", OBJECT, bucket=[{**to("*"), "Effect": "Deny"}]).allowed
    assert not judge(root, "sqs:SendMessage", f"arn:aws:sqs:us-east-1:{THERE}:q").allowed


def trusted(who: Principal, trust: dict[str, Any], *identity: dict[str, Any], context: Any = None) -> AccessDecision:
    role = policy({"Effect": "Allow", "Action": "sts:AssumeRole", **trust}, kind=PolicyKind.TRUST)
    asked = AccessRequest(who, "sts:AssumeRole", f"arn:aws:iam::{HERE}:role/deployer", context or {})
    applied = AppliedPolicies([policy(*identity)] if identity else [], resource=role, resource_decides=True)
    return evaluate(asked, applied)


def test_a_trust_policy_decides_in_any_case() -> None:
    assume = allow("sts:AssumeRole")
    assert trusted(ECS, {"Principal": {"Service": "ecs-tasks.amazonaws.com"}}).allowed
    assert not trusted(principal_of("batch.amazonaws.com"), {"Principal": {"Service": ECS.arn}}).allowed
    assert trusted(MATEO, {"Principal": {"AWS": MATEO.arn}}).allowed
    assert not trusted(MATEO, {"Principal": {"AWS": f"arn:aws:iam::{HERE}:root"}}).allowed
    assert trusted(MATEO, {"Principal": {"AWS": f"arn:aws:iam::{HERE}:root"}}, assume).allowed
    untrusted = trusted(MATEO, {"Principal": {"Service": ECS.arn}}, assume)
    assert untrusted.message == (
        f"User: {MATEO.arn} is not authorized to perform: sts:AssumeRole on resource: "
        f"arn:aws:iam::{HERE}:role/deployer because no role trust policy allows the sts:AssumeRole action"
    )


def test_the_external_id_of_a_third_party() -> None:
    """The confused deputy: "Access to AWS accounts owned by third parties"."""
    vendor = principal_of(f"arn:aws:sts::{THERE}:assumed-role/vendor/s")
    trust = {"Principal": {"AWS": THERE}, "Condition": {"StringEquals": {"sts:ExternalId": "12345"}}}
    assume = allow("sts:AssumeRole", f"arn:aws:iam::{HERE}:role/*")
    assert trusted(vendor, trust, assume, context={"sts:ExternalId": "12345"}).allowed
    assert not trusted(vendor, trust, assume, context={"sts:ExternalId": "54321"}).allowed
    assert not trusted(vendor, trust, assume).allowed


def test_not_action_and_not_resource() -> None:
    mfa = {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}
    rules = allow("*"), deny("x:x", Sid="NoMfa", condition=mfa)
    rules[1]["NotAction"] = ["iam:ChangePassword", "sts:*"]
    del rules[1]["Action"]
    assert not judge(MATEO, "ec2:RunInstances", "*", *rules).allowed
    assert judge(MATEO, "IAM:changepassword", "*", *rules).allowed
    assert judge(MATEO, "ec2:RunInstances", "*", *rules, context={"aws:MultiFactorAuthPresent": "true"}).allowed
    outside = {"Effect": "Deny", "Action": "s3:*", "NotResource": [BUCKET, f"{BUCKET}/*"]}
    assert judge(MATEO, "s3:GetObject", OBJECT, allow("*"), outside).allowed
    assert not judge(MATEO, "s3:GetObject", "arn:aws:s3:::payroll/a", allow("*"), outside).allowed


def test_not_principal_spares_only_whom_it_names_completely() -> None:
    def but(*names: str) -> list[dict[str, Any]]:
        return [{"Effect": "Deny", "NotPrincipal": {"AWS": list(names)}, "Action": "s3:*", "Resource": OBJECT}]

    root = f"arn:aws:iam::{HERE}:root"
    may = allow("s3:*")
    assert judge(MATEO, "s3:GetObject", OBJECT, may, bucket=but(MATEO.arn, root)).allowed
    assert not judge(MATEO, "s3:GetObject", OBJECT, may, bucket=but(MATEO.arn)).allowed
    assert judge(SESSION, "s3:GetObject", OBJECT, may, bucket=but(SESSION.arn, SESSION.entity, root)).allowed
    assert not judge(SESSION, "s3:GetObject", OBJECT, may, bucket=but(SESSION.entity, root)).allowed


@pytest.mark.parametrize(
    ("text", "resource", "fits"),
    [
        ("arn:aws:s3:::home/${aws:username}/*", "arn:aws:s3:::home/mateojackson/a", True),
        ("arn:aws:s3:::home/${aws:username}/*", "arn:aws:s3:::home/anna/a", False),
        ("arn:aws:s3:::home/${aws:PrincipalTag/team, 'company-wide'}/*", "arn:aws:s3:::home/company-wide/a", True),
        ("arn:aws:s3:::home/${aws:PrincipalTag/team}/*", "arn:aws:s3:::home//a", False),
        ("arn:aws:s3:::home/${*}", "arn:aws:s3:::home/*", True),
        ("arn:aws:s3:::home/${*}", "arn:aws:s3:::home/a", False),
        ("arn:aws:s3:::home/${$}{aws:username}", "arn:aws:s3:::home/${aws:username}", True),
        ("arn:aws:s3:::home/a?c", "arn:aws:s3:::home/abc", True),
        ("arn:aws:ecs:*:*:task/c/*", f"arn:aws:ecs:us-east-1:{HERE}:task/c/1", True),
        ("arn:aws:ecs:*:task/c/*", f"arn:aws:ecs:us-east-1:{HERE}:task/c/1", False),
        ("arn:aws:logs:*:*:log-group:a:*", f"arn:aws:logs:us-east-1:{HERE}:log-group:a:log-stream:b", True),
        ("arn:aws:s3:::Home/*", "arn:aws:s3:::home/a", False),
        ("*", "*", True),
        (f"arn:aws:ecs:us-east-1:{HERE}:*", "*", False),
    ],
)
def test_resources_with_wildcards_and_variables(text: str, resource: str, fits: bool) -> None:
    assert judge(MATEO, "s3:GetObject", resource, allow("s3:GetObject", text)).allowed is fits


def test_of_an_unknown_resource_only_the_action_is_judged() -> None:
    one = allow("s3:GetObject", OBJECT)
    assert judge(MATEO, "s3:GetObject", "", one).allowed
    assert not judge(MATEO, "s3:PutObject", "", one).allowed
    assert judge(MATEO, "s3:GetObject", "", one, deny("s3:*", f"{BUCKET}/secret/*")).allowed
    assert not judge(MATEO, "s3:GetObject", "", one, deny("s3:*")).allowed


def test_a_variables_value_is_no_wildcard() -> None:
    star = Principal(MATEO.kind, MATEO.arn, HERE, f"arn:aws:iam::{HERE}:user/*")
    mine = allow("s3:GetObject", "arn:aws:s3:::home/${aws:username}/*")
    assert judge(star, "s3:GetObject", "arn:aws:s3:::home/*/a", mine).allowed
    assert not judge(star, "s3:GetObject", "arn:aws:s3:::home/anna/a", mine).allowed


def test_in_the_old_version_variables_are_letters() -> None:
    old = {"Statement": [allow("s3:GetObject", "arn:aws:s3:::home/${aws:username}")]}
    asked = AccessRequest(MATEO, "s3:GetObject", "arn:aws:s3:::home/mateojackson")
    assert not evaluate(asked, AppliedPolicies([read_policy(old)])).allowed


def test_a_resource_named_by_its_tags() -> None:
    """ABAC: "Controlling access based on tag keys", the caller's tag equals the resource's."""
    lead = principal_of(MATEO.arn, tags={"Team": "data"})
    same = {"StringEquals": {"aws:ResourceTag/Team": "${aws:PrincipalTag/team}"}}
    task = f"arn:aws:ecs:us-east-1:{HERE}:task/c/1"
    rule = allow("ecs:StopTask", "*", same)
    assert judge(lead, "ecs:StopTask", task, rule, context={"aws:ResourceTag/Team": "data"}).allowed
    assert not judge(lead, "ecs:StopTask", task, rule, context={"aws:ResourceTag/Team": "web"}).allowed
    assert not judge(MATEO, "ecs:StopTask", task, rule, context={"aws:ResourceTag/Team": "data"}).allowed


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "is not JSON"),
        ([], "must be an object"),
        ({"Version": "2012-10-17"}, "has no Statement"),
        ({"Version": "2020-01-01", "Statement": [allow("*")]}, "Version must be"),
        ({"Statement": [allow("*") | {"Effect": "allow"}]}, "Effect must be Allow or Deny"),
        ({"Statement": [{"Effect": "Allow", "Resource": "*"}]}, "needs Action or NotAction"),
        ({"Statement": [allow("*", NotAction="s3:*")]}, "and not both"),
        ({"Statement": [allow("*"), allow("RunTask")]}, "statement 2: action 'RunTask' must look like"),
        ({"Statement": [allow("*", Principal="*")]}, "must not have a Principal"),
        ({"Statement": [allow("*", Conditions={})]}, "'Conditions' is no element"),
        ({"Statement": [allow("*", condition={"StringLooksLike": {"a": "b"}})]}, "StringLooksLike is unknown"),
        ({"Statement": [allow("*", condition={"NumericEquals": {"a": "many"}})]}, "could not convert"),
        ({"Statement": [allow("*", condition={"IpAddress": {"aws:SourceIp": "1.2.3"}})]}, "IPv4 or IPv6"),
    ],
)
def test_what_iam_would_not_accept_is_refused(document: Any, says: str) -> None:
    with pytest.raises(Refused, match=says):
        read_policy(document, name="p")


@pytest.mark.parametrize("arn", ["arn:aws:iam::1:user/x", "arn:aws:iam::111122223333:group/x", "nobody", ""])
def test_who_cannot_ask(arn: str) -> None:
    with pytest.raises(Refused):
        principal_of(arn)
