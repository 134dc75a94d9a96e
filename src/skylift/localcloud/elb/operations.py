"""What the operations of Elastic Load Balancing share: the store, the traffic, and how things are found and listed."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from skylift.core import names
from skylift.core.clock import Clock
from skylift.core.numbers import natural
from skylift.localcloud.elb import shapes
from skylift.localcloud.elb.actions import checked_actions
from skylift.localcloud.elb.health import Health
from skylift.localcloud.elb.store import ElbStore, Listener, LoadBalancer, TargetGroup, Thing, weights_of
from skylift.localcloud.elb.tls import Certificates
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

Request = dict[str, Any]
PAGE = 400
MOST_GROUPS_PER_BALANCER = 100
T = TypeVar("T")


class Traffic(Protocol):
    """Moves bytes and checks targets."""

    def free_address(self) -> str:
        """A loopback address for a new load balancer."""
        ...

    async def open(self, listener: Listener) -> None:
        """Binds a listener's socket. Raises ``Refused``."""
        ...

    async def close(self, arn: str) -> None:
        """Closes a listener's socket."""
        ...

    def targets(self, group: TargetGroup) -> list[tuple[tuple[str, int], Health]]:
        """Each target with its health, including those being drained."""
        ...

    def show_certificates(self, listener: Listener) -> None:
        """Shows the certificates that an encrypted listener has now."""
        ...

    def changed(self, group: TargetGroup) -> None:
        """Targets, settings or listeners of the group have changed."""
        ...


class ElbOperations:
    """The base of all operations."""

    def __init__(self, store: ElbStore, traffic: Traffic, certificates: Certificates, clock: Clock) -> None:
        self.store = store
        self.certificates = certificates
        self.traffic = traffic
        self.clock = clock

    def balancer(self, arn: str) -> LoadBalancer:
        """By its ARN. Raises ``AwsError``."""
        return known(self.store.balancers.get(arn), "LoadBalancerNotFound", f"Load balancer '{arn}' not found")

    def group(self, arn: str) -> TargetGroup:
        """By its ARN. Raises ``AwsError``."""
        return known(self.store.groups.get(arn), "TargetGroupNotFound", f"Target group '{arn}' not found")

    def listener(self, arn: str) -> Listener:
        """By its ARN. Raises ``AwsError``."""
        return known(self.store.listeners.get(arn), "ListenerNotFound", f"Listener '{arn}' not found")

    def thing(self, arn: str) -> Thing:
        """Anything by its ARN. Raises ``AwsError``."""
        thing = self.store.thing(arn)
        if thing is None:
            kinds = {"listener": "Listener", "targetgroup": "TargetGroup", "listener-rule": "Rule"}
            what = next((kind for word, kind in kinds.items() if f":{word}/" in arn), "LoadBalancer")
            raise AwsError(f"{what}NotFound", f"'{arn}' not found")
        return thing

    def actions(self, actions: Sequence[Request], balancer: LoadBalancer) -> list[Request]:
        """The actions of a listener or rule as they are shown; their target groups exist and fit. Raises
        ``AwsError``."""
        kind = balancer.shown["Type"]
        shown = checked_actions(actions, kind)
        groups = [self.group(arn) for action in shown for arn in weights_of(action)]
        for group in groups:
            if set(self.store.balancers_of(group.arn)) - {balancer.arn}:
                text = f"Target group '{group.arn}' is associated with another load balancer"
                raise AwsError("TargetGroupAssociationLimit", text)
            if (spoken := group.shown["Protocol"]) != (wanted := shapes.PROTOCOLS[kind]):
                text = f"Target group '{group.arn}' speaks {spoken}, the listener {wanted}"
                raise AwsError("IncompatibleProtocols", text)
        if len(self.store.groups_of(balancer.arn) | {one.arn for one in groups}) > MOST_GROUPS_PER_BALANCER:
            text = f"A load balancer can forward to at most {MOST_GROUPS_PER_BALANCER} target groups"
            raise AwsError("TooManyUniqueTargetGroupsPerLoadBalancer", text)
        return shown

    def traffic_changed(self, groups: Iterable[str]) -> None:
        """Tells the traffic that target groups (ARNs) have begun or ceased to be used."""
        for arn in dict.fromkeys(groups):
            if arn in self.store.groups:
                self.traffic.changed(self.store.groups[arn])


def arn_of(caller: Caller, resource: str) -> str:
    """An ARN in the caller's account and region."""
    return names.arn("elasticloadbalancing", caller.region, caller.account, resource)


def new_id() -> str:
    """The last part of an ARN."""
    return secrets.token_hex(8)


def known(thing: T | None, code: str, message: str) -> T:
    """The thing, if there is one. Raises ``AwsError``."""
    if thing is None:
        raise AwsError(code, message)
    return thing


def chosen(things: Iterable[Any], wanted: Mapping[str, list[str] | None], code: str, message: str) -> list[Any]:
    """The things whose members have the wanted values. Raises ``AwsError``: a value that no thing has."""
    found = list(things)
    for member, asked in wanted.items():
        if asked:
            if set(asked) - {one.shown[member] for one in found}:
                raise AwsError(code, message)
            found = [one for one in found if one.shown[member] in asked]
    return found


def paged(member: str, found: list[Request], request: Request) -> Request:
    """One page of an answer. Raises ``AwsError``."""
    marker = request.get("Marker") or "0"
    begin = natural(marker)
    if begin is None:
        raise shapes.invalid(f"The marker '{marker[:64]}' is not valid: give the NextMarker of an answer, or none")
    end = begin + request.get("PageSize", PAGE)
    return {member: found[begin:end], **({"NextMarker": str(end)} if end < len(found) else {})}


def listed(pairs: Mapping[str, str]) -> list[Request]:
    """Tags or attributes as they are shown."""
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def pairs_of(tags: Sequence[Request]) -> dict[str, str]:
    """Tags as they are kept."""
    return {one["Key"]: one.get("Value", "") for one in tags}
