"""The operations of Elastic Load Balancing v2, as the wire calls them. ``balancer.py`` and ``forward.py`` do the
balancing."""
# ruff: noqa: ARG002  # every operation gets its caller; few need it

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from skylift.core import names
from skylift.core.clock import Clock
from skylift.core.errors import Refused, Unavailable
from skylift.core.numbers import natural
from skylift.localcloud.elb import shapes
from skylift.localcloud.elb.health import Health
from skylift.localcloud.elb.store import ElbStore, Listener, LoadBalancer, TargetGroup, Thing, forwarded_to
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

Request = dict[str, Any]
PAGE = 400
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

    def changed(self, group: TargetGroup) -> None:
        """Targets, settings or listeners of the group have changed."""
        ...


class ElbProvider:
    """Serves ``elbv2``; one method per operation (see ``wire.provider``)."""

    service = "elbv2"
    blocking = False

    def __init__(self, store: ElbStore, traffic: Traffic, clock: Clock) -> None:
        self._store = store
        self._traffic = traffic
        self._clock = clock

    # Load balancers.

    def create_load_balancer(self, caller: Caller, request: Request) -> Request:
        """Creates one with its own loopback address; the same request again returns the same one."""
        name = request["Name"]
        shapes.check_name("Load balancer", name)
        kind = shapes.ABBREVIATIONS.get(request.get("Type", "application"), "app")
        found = next((one for one in self._store.balancers.values() if one.shown["LoadBalancerName"] == name), None)
        arn = found.arn if found else _arn(caller, f"loadbalancer/{kind}/{name}/{_id()}")
        address = found.address if found else self._traffic.free_address()
        shown = shapes.balancer(request, arn, self._clock(), address, caller.region)
        if found is None:
            found = LoadBalancer(shown, address, dict(shapes.BALANCER_ATTRIBUTES), _pairs(request.get("Tags", [])))
            self._store.save(found)
        elif not shapes.same(found.shown, shown, "CreatedTime", "State"):
            text = f"A load balancer with the same name '{name}' exists, but with different settings"
            raise AwsError("DuplicateLoadBalancerName", text)
        return {"LoadBalancers": [_balancer(found)]}

    def describe_load_balancers(self, caller: Caller, request: Request) -> Request:
        """All, or the named ones; an unknown one is refused."""
        found = _chosen(
            self._store.balancers.values(),
            {"LoadBalancerArn": request.get("LoadBalancerArns"), "LoadBalancerName": request.get("Names")},
            "LoadBalancerNotFound",
            "One or more load balancers not found",
        )
        return _paged("LoadBalancers", [_balancer(one) for one in found], request)

    async def delete_load_balancer(self, caller: Caller, request: Request) -> Request:
        """Deletes it with its listeners; deleting an unknown one is fine."""
        arn = request["LoadBalancerArn"]
        found = self._store.balancers.get(arn)
        if found is None:
            return {}
        if found.attributes.get("deletion_protection.enabled") == "true":
            text = f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
            raise AwsError("OperationNotPermitted", text)
        listeners = self._store.listeners_of(arn)
        self._store.remove(arn, *(one.arn for one in listeners))
        for one in listeners:
            await self._closed(one)
        return {}

    def describe_load_balancer_attributes(self, caller: Caller, request: Request) -> Request:
        """Its attributes."""
        return {"Attributes": _listed(self._balancer(request["LoadBalancerArn"]).attributes)}

    def modify_load_balancer_attributes(self, caller: Caller, request: Request) -> Request:
        """Stores attributes; only deletion protection has an effect here."""
        return {"Attributes": self._modified(self._balancer(request["LoadBalancerArn"]), request)}

    # Target groups.

    def create_target_group(self, caller: Caller, request: Request) -> Request:
        """Creates one; the same request again returns the same one."""
        name = request["Name"]
        shapes.check_name("Target group", name)
        found = next((one for one in self._store.groups.values() if one.shown["TargetGroupName"] == name), None)
        shown = shapes.group(request, found.arn if found else _arn(caller, f"targetgroup/{name}/{_id()}"))
        if found is None:
            found = TargetGroup(shown, [], dict(shapes.GROUP_ATTRIBUTES), _pairs(request.get("Tags", [])))
            self._store.save(found)
        elif not shapes.same(found.shown, shown):
            text = f"A target group with the same name '{name}' exists, but with different settings"
            raise AwsError("DuplicateTargetGroupName", text)
        return {"TargetGroups": [self._shown_group(found)]}

    def describe_target_groups(self, caller: Caller, request: Request) -> Request:
        """All, the named ones, or those of a load balancer; an unknown one is refused."""
        found = _chosen(
            self._store.groups.values(),
            {"TargetGroupArn": request.get("TargetGroupArns"), "TargetGroupName": request.get("Names")},
            "TargetGroupNotFound",
            "One or more target groups not found",
        )
        if "LoadBalancerArn" in request:
            arn = self._balancer(request["LoadBalancerArn"]).arn
            found = [one for one in found if arn in self._store.balancers_of(one.arn)]
        return _paged("TargetGroups", [self._shown_group(one) for one in found], request)

    def modify_target_group(self, caller: Caller, request: Request) -> Request:
        """Changes its health check."""
        found = self._group(request["TargetGroupArn"])
        shown = {**found.shown, **{name: value for name, value in request.items() if name != "TargetGroupArn"}}
        shapes.check_health(shown)
        found.shown = shown
        self._store.save(found)
        self._traffic.changed(found)
        return {"TargetGroups": [self._shown_group(found)]}

    def delete_target_group(self, caller: Caller, request: Request) -> Request:
        """Deletes it; refused while a listener uses it."""
        arn = request["TargetGroupArn"]
        if self._store.balancers_of(arn):
            raise AwsError("ResourceInUse", f"Target group '{arn}' is currently in use by a listener or a rule")
        found = self._store.groups.get(arn)
        if found is not None:
            self._store.remove(arn)
            found.targets = []
            self._traffic.changed(found)
        return {}

    def describe_target_group_attributes(self, caller: Caller, request: Request) -> Request:
        """Its attributes."""
        return {"Attributes": _listed(self._group(request["TargetGroupArn"]).attributes)}

    def modify_target_group_attributes(self, caller: Caller, request: Request) -> Request:
        """Stores attributes; only the deregistration delay has an effect here."""
        return {"Attributes": self._modified(self._group(request["TargetGroupArn"]), request)}

    # Listeners.

    async def create_listener(self, caller: Caller, request: Request) -> Request:
        """Binds the load balancer's address and port at once; the same request again returns the same one."""
        balancer = self._balancer(request["LoadBalancerArn"])
        name = balancer.arn.partition(":loadbalancer/")[2]
        shown = self._listener_shown(request, balancer, _arn(caller, f"listener/{name}/{_id()}"))
        for other in self._store.listeners_of(balancer.arn):
            if other.shown["Port"] == shown["Port"]:
                if shapes.same(other.shown, shown, "ListenerArn"):
                    return {"Listeners": [other.shown]}
                raise _duplicate(shown)
        listener = Listener(shown, dict(shapes.LISTENER_ATTRIBUTES[shown["Protocol"]]), _pairs(request.get("Tags", [])))
        await self._opened(listener)
        await self._saved(listener, self._traffic.close(listener.arn))
        self._traffic_changed(listener.groups)
        return {"Listeners": [shown]}

    def describe_listeners(self, caller: Caller, request: Request) -> Request:
        """Those of a load balancer, or the named ones."""
        if not (request.get("LoadBalancerArn") or request.get("ListenerArns")):
            raise shapes.invalid("You must specify either listener ARNs or a load balancer ARN")
        known = list(self._store.listeners.values())
        if "LoadBalancerArn" in request:
            known = self._store.listeners_of(self._balancer(request["LoadBalancerArn"]).arn)
        wanted = {"ListenerArn": request.get("ListenerArns")}
        found = _chosen(known, wanted, "ListenerNotFound", "One or more listeners not found")
        return _paged("Listeners", [one.shown for one in found], request)

    async def modify_listener(self, caller: Caller, request: Request) -> Request:
        """Changes port or target groups; binds a new socket only for another port."""
        listener = self._listener(request["ListenerArn"])
        balancer = self._balancer(listener.shown["LoadBalancerArn"])
        shown = self._listener_shown({**listener.shown, **request}, balancer, listener.arn)
        others = [one for one in self._store.listeners_of(balancer.arn) if one is not listener]
        if any(one.shown["Port"] == shown["Port"] for one in others):
            raise _duplicate(shown)
        groups, moved = listener.groups, shown["Port"] != listener.shown["Port"]
        if moved:
            await self._opened(Listener(shown))
        listener.shown = shown
        await self._saved(listener, self._opened(listener) if moved else None)  # back at its previous port
        self._traffic_changed([*groups, *listener.groups])
        return {"Listeners": [shown]}

    def describe_listener_attributes(self, caller: Caller, request: Request) -> Request:
        """Its attributes."""
        return {"Attributes": _listed(self._listener(request["ListenerArn"]).attributes)}

    def modify_listener_attributes(self, caller: Caller, request: Request) -> Request:
        """Stores attributes; none has an effect here."""
        return {"Attributes": self._modified(self._listener(request["ListenerArn"]), request)}

    async def delete_listener(self, caller: Caller, request: Request) -> Request:
        """Closes its socket and forgets it."""
        listener = self._listener(request["ListenerArn"])
        self._store.remove(listener.arn)
        await self._closed(listener)
        return {}

    # Targets.

    def register_targets(self, caller: Caller, request: Request) -> Request:
        """Adds addresses; existing ones stay unchanged."""
        group = self._group(request["TargetGroupArn"])
        for target in _targets(request["Targets"], group.shown["Port"]):
            if target not in group.targets:
                group.targets.append(target)
        self._store.save(group)
        self._traffic.changed(group)
        return {}

    def deregister_targets(self, caller: Caller, request: Request) -> Request:
        """Removes addresses: no new connections; open ones go on."""
        group = self._group(request["TargetGroupArn"])
        gone = {(one["Id"], one.get("Port")) for one in request["Targets"]}
        group.targets = [one for one in group.targets if one not in gone and (one[0], None) not in gone]
        self._store.save(group)
        self._traffic.changed(group)
        return {}

    def describe_target_health(self, caller: Caller, request: Request) -> Request:
        """Health of all targets of a group, or of the named ones."""
        group = self._group(request["TargetGroupArn"])
        known = dict(self._traffic.targets(group))
        unknown = Health("unused", "Target.NotRegistered", "Target is not registered to the target group")
        wanted = _targets(request["Targets"], group.shown["Port"]) if "Targets" in request else list(known)
        return {
            "TargetHealthDescriptions": [shapes.target_health(group, one, known.get(one, unknown)) for one in wanted]
        }

    # Tags.

    def add_tags(self, caller: Caller, request: Request) -> Request:
        """Tags load balancers, target groups, listeners."""
        for thing in self._things(request):
            thing.tags.update(_pairs(request["Tags"]))
            self._store.save(thing)
        return {}

    def remove_tags(self, caller: Caller, request: Request) -> Request:
        """Removes tags."""
        for thing in self._things(request):
            thing.tags = {key: value for key, value in thing.tags.items() if key not in request["TagKeys"]}
            self._store.save(thing)
        return {}

    def describe_tags(self, caller: Caller, request: Request) -> Request:
        """Tags of things."""
        things = self._things(request)
        return {"TagDescriptions": [{"ResourceArn": one.arn, "Tags": _listed(one.tags)} for one in things]}

    def _balancer(self, arn: str) -> LoadBalancer:
        return _known(self._store.balancers.get(arn), "LoadBalancerNotFound", f"Load balancer '{arn}' not found")

    def _group(self, arn: str) -> TargetGroup:
        return _known(self._store.groups.get(arn), "TargetGroupNotFound", f"Target group '{arn}' not found")

    def _listener(self, arn: str) -> Listener:
        return _known(self._store.listeners.get(arn), "ListenerNotFound", f"Listener '{arn}' not found")

    def _things(self, request: Request) -> list[Thing]:
        return [self._thing(arn) for arn in request["ResourceArns"]]

    def _thing(self, arn: str) -> Thing:
        thing = self._store.thing(arn)
        if thing is None:
            what = next((kind for kind in ("Listener", "TargetGroup") if f":{kind.lower()}/" in arn), "LoadBalancer")
            raise AwsError(f"{what}NotFound", f"'{arn}' not found")
        return thing

    def _shown_group(self, group: TargetGroup) -> Request:
        return {**group.shown, "LoadBalancerArns": self._store.balancers_of(group.arn)}

    def _listener_shown(self, request: Request, balancer: LoadBalancer, arn: str) -> Request:
        groups = [self._group(name) for action in request["DefaultActions"] for name in forwarded_to(action)]
        for group in groups:
            if set(self._store.balancers_of(group.arn)) - {balancer.arn}:
                text = f"Target group '{group.arn}' is associated with another load balancer"
                raise AwsError("TargetGroupAssociationLimit", text)
        protocols = {group.arn: group.shown["Protocol"] for group in groups}
        return shapes.listener(request, arn, balancer.shown["Type"], protocols)

    def _modified(self, thing: Thing, request: Request) -> list[Request]:
        thing.attributes.update({one["Key"]: one.get("Value", "") for one in request["Attributes"]})
        self._store.save(thing)
        return _listed(thing.attributes)

    async def _saved(self, listener: Listener, undo: Coroutine[Any, Any, None] | None) -> None:
        """Writes it; if the disk cannot take it, restores its socket."""
        try:
            self._store.save(listener)
        except Unavailable:
            if undo is not None:
                await undo
            raise
        if undo is not None:
            undo.close()

    async def _opened(self, listener: Listener) -> None:
        try:
            await self._traffic.open(listener)
        except Refused as error:
            raise shapes.invalid(f"The listener cannot be made: {error}") from error

    async def _closed(self, listener: Listener) -> None:
        await self._traffic.close(listener.arn)
        self._traffic_changed(listener.groups)

    def _traffic_changed(self, groups: Iterable[str]) -> None:
        for arn in dict.fromkeys(groups):
            if arn in self._store.groups:
                self._traffic.changed(self._store.groups[arn])


def _arn(caller: Caller, resource: str) -> str:
    return names.arn("elasticloadbalancing", caller.region, caller.account, resource)


def _id() -> str:
    return secrets.token_hex(8)


def _known(thing: T | None, code: str, message: str) -> T:
    if thing is None:
        raise AwsError(code, message)
    return thing


def _chosen(known: Iterable[Any], wanted: Mapping[str, list[str] | None], code: str, message: str) -> list[Any]:
    found = list(known)
    for member, asked in wanted.items():
        if asked:
            if set(asked) - {one.shown[member] for one in found}:
                raise AwsError(code, message)
            found = [one for one in found if one.shown[member] in asked]
    return found


def _paged(member: str, found: list[Request], request: Request) -> Request:
    marker = request.get("Marker") or "0"
    begin = natural(marker)
    if begin is None:
        raise shapes.invalid(f"The marker '{marker[:64]}' is not valid: give the NextMarker of an answer, or none")
    end = begin + request.get("PageSize", PAGE)
    return {member: found[begin:end], **({"NextMarker": str(end)} if end < len(found) else {})}


def _balancer(one: LoadBalancer) -> Request:
    return {**one.shown, "CreatedTime": datetime.fromtimestamp(one.shown["CreatedTime"], UTC)}


def _duplicate(shown: Request) -> AwsError:
    return AwsError("DuplicateListener", f"A listener already exists on port {shown['Port']} for this load balancer")


def _listed(pairs: Mapping[str, str]) -> list[Request]:
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def _pairs(tags: Sequence[Request]) -> dict[str, str]:
    return {one["Key"]: one.get("Value", "") for one in tags}


def _targets(targets: Sequence[Request], port: int) -> list[tuple[str, int]]:
    return [(one["Id"], one.get("Port", port)) for one in targets]
