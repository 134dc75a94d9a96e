"""Decides what becomes of the calls to the local cloud: judged, only noted, or neither.

Three places ask: the wire, for the services that skylift serves itself (it is their interceptor); the edge of the
emulators, for all others; and ECS, for what it does with the roles of an ECS task. The owner's own key is never
judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from skylift.core.errors import Refused
from skylift.core.iam.evaluate import AccessDecision
from skylift.localcloud.iam.actions.call import ECS_TASKS, ApiCall, Lookups, Need, general_of
from skylift.localcloud.iam.actions.ecs import roles_of
from skylift.localcloud.iam.actions.s3 import s3_needs
from skylift.localcloud.iam.actions.table import needs_of
from skylift.localcloud.iam.judge import LocalJudge
from skylift.localcloud.iam.mode import IamMode
from skylift.localcloud.iam.observed import ObservedCalls
from skylift.localcloud.iam.state import IamState, RequestJudge
from skylift.localcloud.ports import Roles
from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.intercept import Call, Interception, Interceptor
from skylift.wire.provider import Caller

OWN_SERVICES = frozenset({"acm", "airflow", "application-autoscaling", "batch", "ecs", "elasticloadbalancing", "logs"})
"""Signing names of the services whose requests the wire has parsed."""
_QUERY = frozenset({"sqs", "iam", "sts", "rds", "sns", "monitoring", "route53", "elasticloadbalancing"})
_JSON_STATUS, _OTHER_STATUS = 400, 403
_UNASSUMABLE = (
    "ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role being "
    "passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
)


class NeedChecks:
    """Judges needs, records them, and refuses what is denied if the mode says so."""

    def __init__(self, mode: IamMode, judge: LocalJudge, observed: ObservedCalls, region: str) -> None:
        self.mode = mode
        self.judge = judge
        self.observed = observed
        self.region = region

    def check(
        self, principal: str, needs: Iterable[Need], decide: Callable[[Need], AccessDecision], refusal: tuple[str, int]
    ) -> None:
        """Raises ``AwsError`` with the refusal's code and status for the first need that is denied."""
        for need in needs:
            try:
                decision = decide(need)
            except Refused as error:
                self.observed.record(principal, need)
                if self.mode is IamMode.ENFORCE:
                    raise AwsError(refusal[0], f"{need.action} cannot be judged: {error}", refusal[1]) from error
                continue
            self.observed.record(principal, need, decision)
            if not decision.allowed and self.mode is IamMode.ENFORCE:
                raise AwsError(refusal[0], decision.message, refusal[1])


class RoleChecks(Roles):
    """What ECS does with the roles of an ECS task."""

    def __init__(self, checks: NeedChecks) -> None:
        self._checks = checks

    def check(self, role: str, session: str, action: str, resource: str) -> None:
        """Judges and records it (``ports.Roles``)."""
        judge, region = self._checks.judge, self._checks.region
        need = Need(action, resource, general=general_of(resource))
        refusal = "AccessDeniedException", _JSON_STATUS
        self._checks.check(
            without_path(role), [need], lambda need: judge.decide_for_role(role, session, need, region), refusal
        )

    def check_assumable(self, role: str) -> None:
        """By its trust policy, for ECS's service principal (``ports.Roles``)."""
        need = Need("sts:AssumeRole", role, {"aws:SourceAccount": role.split(":")[4]})
        try:
            allowed = self._checks.judge.decide_for_service(ECS_TASKS, need, self._checks.region).allowed
        except Refused:
            allowed = False
        if not allowed and self._checks.mode is IamMode.ENFORCE:
            raise AwsError("ClientException", _UNASSUMABLE.format(role=role))


class Enforcement(Interceptor, RequestJudge):
    """Judges requests. Belongs to one event loop."""

    def __init__(self, checks: NeedChecks, roles: RoleChecks, lookups: Lookups, state: IamState, account: str) -> None:
        self._checks = checks
        self._roles = roles
        self._lookups = lookups
        self._state = state
        self._account = account

    async def interception(self, call: Call) -> Interception:
        """For the services of the wire (``wire.intercept.Interceptor``). Raises ``AwsError``: the call is denied."""
        if call.service in OWN_SERVICES and self.judges(call.caller):
            self.check(call.service, call.operation, call.request, call.caller)
            if (call.service, call.operation) == ("ecs", "RunTask"):
                definition = self._lookups.task_definition(str(call.request.get("taskDefinition", "")))
                for role in roles_of(definition, call.request.get("overrides") or {}):
                    self._roles.check_assumable(role)
        return Interception()

    def judges(self, caller: Caller) -> bool:
        """Everybody's but administrators'."""
        return not self._checks.judge.is_administrator(caller)

    def check(self, service: str, operation: str, members: Mapping[str, Any], caller: Caller) -> None:
        """By the table of the service."""
        call = ApiCall(service, operation, members, self._account, caller.region or self._checks.region, self._lookups)
        self._check(caller, needs_of(call), _refusal(service))

    def check_s3(self, head: Head, body: bytes, caller: Caller) -> None:
        """S3 says that an object does not exist only to who may list its bucket."""
        needs = s3_needs(head, body, caller.region or self._checks.region)
        self._check(caller, needs, _refusal("s3"))
        first = needs[0] if needs else None
        if first is not None and first.action == "s3:GetObject":
            bucket, _, key = first.resource.partition("/")
            if not self._state.has_object(bucket.rpartition(":")[2], key):
                self._check(caller, [Need("s3:ListBucket", bucket)], _refusal("s3"))

    def _check(self, caller: Caller, needs: Iterable[Need], refusal: tuple[str, int]) -> None:
        self._checks.check(_entity(caller.principal), needs, self._checks.judge.decider(caller), refusal)


def _refusal(service: str) -> tuple[str, int]:
    """Code and status of a denial, by the protocol of the service."""
    if service == "ec2":
        return "UnauthorizedOperation", _OTHER_STATUS
    if service == "s3" or service in _QUERY:
        return "AccessDenied", _OTHER_STATUS
    return "AccessDeniedException", _OTHER_STATUS if service in {"batch", "airflow"} else _JSON_STATUS


def _entity(principal: str) -> str:
    """The user or role of a principal, without the session's name and without the role's path."""
    head, _, rest = principal.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:', 1)}:role/{rest.partition('/')[0]}" if rest else principal


def without_path(role: str) -> str:
    """A role's ARN as it follows from a session's, which does not show the path."""
    head, _, rest = role.partition(":role/")
    return f"{head}:role/{rest.rpartition('/')[2]}"
