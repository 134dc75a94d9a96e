"""IAM of one local cloud, put together: who is judged, by what state, and what is noted."""

from __future__ import annotations

from skylift.core.clock import Clock
from skylift.localcloud.batch.provider import BatchProvider
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.iam.enforcement import Enforcement, NeedChecks, RoleChecks
from skylift.localcloud.iam.judge import LocalJudge
from skylift.localcloud.iam.lookups import CloudLookups
from skylift.localcloud.iam.mode import IamChoice, IamMode
from skylift.localcloud.iam.observed import ObservedCalls
from skylift.localcloud.iam.route import IamRoute
from skylift.localcloud.iam.state import IamState
from skylift.localcloud.ports import AnyRole, CloudContext, Roles


class LocalIam:
    """The parts that judge.

    Attributes:
        observed: who did what, if IAM is not off.
        route: what people's tools read of it.
    """

    def __init__(self, choice: IamChoice, state: IamState, cloud: CloudContext, clock: Clock) -> None:
        self._off = choice.mode is IamMode.OFF
        self._state = state
        self._account = cloud.account
        self.observed = ObservedCalls(clock)
        self.route = IamRoute(choice.mode, self.observed)
        judge = LocalJudge(state, clock, choice.administrators)
        self._checks = NeedChecks(choice.mode, judge, self.observed, cloud.region)
        self._roles = RoleChecks(self._checks)

    @property
    def roles(self) -> Roles:
        """For ECS."""
        return AnyRole() if self._off else self._roles

    def judge(self, ecs: EcsProvider, batch: BatchProvider) -> Enforcement | None:
        """For the wire and the emulators; ``None``: nobody is judged."""
        if self._off:
            return None
        lookups = CloudLookups(ecs, batch, self._state)
        return Enforcement(self._checks, self._roles, lookups, self._state, self._account)
