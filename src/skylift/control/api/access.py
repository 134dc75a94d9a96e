"""Whether a caller may use an operation of the MWAA API, and with which role it comes into an environment.

Who decides is a seam, ``AccessJudge``: IAM itself (``iam:SimulatePrincipalPolicy``), or its rules evaluated here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from skylift.control.part_context import environment_arn
from skylift.control.settings import ControlSettings
from skylift.core.names import arn
from skylift.core.roles import Role
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

ANY = "*"
"""The resource of operations that are not about one environment."""


class AccessJudge(Protocol):
    """Decides by the policies of whoever calls.

    Answers at once, changes nothing, may be asked again. A principal that does not exist is refused everything. What
    cannot be found out is not allowed: the judge raises ``Unavailable`` (ask later) or ``Refused`` (say what to do).
    """

    def refusals(self, caller: Caller, action: str, resources: Sequence[str]) -> Mapping[str, str]:
        """The resources for which the action is not allowed, each with the reason in AWS's words."""
        ...


class AdministratorJudge:
    """Lets the account's root and some other principals do everything without asking; another judge decides for the
    rest.

    Args:
        administrators: ARNs. On a laptop: the user whose credentials ``skylift up`` made.
    """

    def __init__(self, administrators: Sequence[str], others: AccessJudge) -> None:
        self._administrators = frozenset(administrators)
        self._others = others

    def refusals(self, caller: Caller, action: str, resources: Sequence[str]) -> Mapping[str, str]:
        """Nothing, for an administrator."""
        if caller.principal in self._administrators or caller.principal.endswith(":root"):
            return {}
        return self._others.refusals(caller, action, resources)


class AccessRules:
    """What the operations of the MWAA API ask before they do anything."""

    def __init__(self, judge: AccessJudge, settings: ControlSettings) -> None:
        self._judge = judge
        self._settings = settings

    def require(self, caller: Caller, operation: str, environment: str = "") -> None:
        """Raises ``AwsError`` if the caller may not use an operation (on an environment, or on none)."""
        resource = environment_arn(environment, self._settings) if environment else ANY
        if refused := self._judge.refusals(caller, f"airflow:{operation}", (resource,)):
            raise AwsError("AccessDeniedException", refused[resource], 403)

    def role(self, caller: Caller, operation: str, environment: str) -> Role:
        """The role with most rights that the caller may take in an environment.

        Raises:
            AwsError: it may take none.
        """
        settings = self._settings
        roles = {
            arn("airflow", settings.region, settings.account, f"role/{environment}/{role}"): role
            for role in reversed(Role)
        }
        refused = self._judge.refusals(caller, f"airflow:{operation}", tuple(roles))
        if allowed := [role for resource, role in roles.items() if resource not in refused]:
            return allowed[0]
        where = arn("airflow", settings.region, settings.account, f"role/{environment}/*")
        raise AwsError(
            "AccessDeniedException",
            f"User: {caller.principal} is not authorized to perform: airflow:{operation} on resource: {where}: its "
            f"policies allow no Airflow role ({', '.join(reversed(Role))})",
            403,
        )
