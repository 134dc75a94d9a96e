"""The operations of Elastic Load Balancing v2, as the wire calls them. ``balancer.py`` and ``forward.py`` do the
balancing."""
# ruff: noqa: ARG002  # every operation gets its caller; few need it

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

from skylift.core.errors import Refused, Unavailable
from skylift.localcloud.elb import shapes
from skylift.localcloud.elb.certificates import CertificateOperations
from skylift.localcloud.elb.health import Health
from skylift.localcloud.elb.operations import Request, arn_of, chosen, listed, new_id, paged, pairs_of
from skylift.localcloud.elb.rules import RuleOperations
from skylift.localcloud.elb.store import Listener, LoadBalancer, TargetGroup, Thing
from skylift.localcloud.elb.tls import ENCRYPTED, MEMBERS, shown_tls
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller


class ElbProvider(RuleOperations, CertificateOperations):
    """Serves ``elbv2``; one method per operation (see ``wire.provider``)."""

    service = "elbv2"
    blocking = False

    # Load balancers.

    def create_load_balancer(self, caller: Caller, request: Request) -> Request:
        """Creates one with its own loopback address; the same request again returns the same one."""
        name = request["Name"]
        shapes.check_name("Load balancer", name)
        kind = shapes.ABBREVIATIONS.get(request.get("Type", "application"), "app")
        found = next((one for one in self.store.balancers.values() if one.shown["LoadBalancerName"] == name), None)
        arn = found.arn if found else arn_of(caller, f"loadbalancer/{kind}/{name}/{new_id()}")
        address = found.address if found else self.traffic.free_address()
        shown = shapes.balancer(request, arn, self.clock(), address, caller.region)
        if found is None:
            found = LoadBalancer(shown, address, dict(shapes.BALANCER_ATTRIBUTES), pairs_of(request.get("Tags", [])))
            self.store.save(found)
        elif not shapes.same(found.shown, shown, "CreatedTime", "State"):
            text = f"A load balancer with the same name '{name}' exists, but with different settings"
            raise AwsError("DuplicateLoadBalancerName", text)
        return {"LoadBalancers": [_balancer(found)]}

    def describe_load_balancers(self, caller: Caller, request: Request) -> Request:
        """All, or the named ones; an unknown one is refused."""
        found = chosen(
            self.store.balancers.values(),
            {"LoadBalancerArn": request.get("LoadBalancerArns"), "LoadBalancerName": request.get("Names")},
            "LoadBalancerNotFound",
            "One or more load balancers not found",
        )
        return paged("LoadBalancers", [_balancer(one) for one in found], request)

    async def delete_load_balancer(self, caller: Caller, request: Request) -> Request:
        """Deletes it with its listeners and their rules; deleting an unknown one is fine."""
        arn = request["LoadBalancerArn"]
        found = self.store.balancers.get(arn)
        if found is None:
            return {}
        if found.attributes.get("deletion_protection.enabled") == "true":
            text = f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
            raise AwsError("OperationNotPermitted", text)
        listeners, groups = self.store.listeners_of(arn), self.store.groups_of(arn)
        rules = [rule.arn for one in listeners for rule in self.store.rules_of(one.arn)]
        self.store.remove(arn, *rules, *(one.arn for one in listeners))
        for one in listeners:
            await self.traffic.close(one.arn)
        self.traffic_changed(groups)
        return {}

    def set_security_groups(self, caller: Caller, request: Request) -> Request:
        """Stores the security groups; nothing is filtered by them."""
        found = self.balancer(request["LoadBalancerArn"])
        if found.shown["Type"] == "network" and not found.shown["SecurityGroups"]:
            text = "Security groups can only be set on a network load balancer that was made with some"
            raise AwsError("InvalidConfigurationRequest", text)
        if not request["SecurityGroups"]:
            raise AwsError("InvalidConfigurationRequest", "A security group must be specified")
        found.shown["SecurityGroups"] = request["SecurityGroups"]
        self.store.save(found)
        return {"SecurityGroupIds": request["SecurityGroups"]}

    def describe_load_balancer_attributes(self, caller: Caller, request: Request) -> Request:
        """Its attributes."""
        return {"Attributes": listed(self.balancer(request["LoadBalancerArn"]).attributes)}

    def modify_load_balancer_attributes(self, caller: Caller, request: Request) -> Request:
        """Stores attributes; only deletion protection has an effect here."""
        return {"Attributes": self._modified(self.balancer(request["LoadBalancerArn"]), request)}

    def describe_capacity_reservation(self, caller: Caller, request: Request) -> Request:
        """Nothing is ever reserved."""
        self.balancer(request["LoadBalancerArn"])
        return {"CapacityReservationState": []}

    # Target groups.

    def create_target_group(self, caller: Caller, request: Request) -> Request:
        """Creates one; the same request again returns the same one."""
        name = request["Name"]
        shapes.check_name("Target group", name)
        found = next((one for one in self.store.groups.values() if one.shown["TargetGroupName"] == name), None)
        shown = shapes.group(request, found.arn if found else arn_of(caller, f"targetgroup/{name}/{new_id()}"))
        if found is None:
            found = TargetGroup(
                shown, [], dict(shapes.GROUP_ATTRIBUTES[shown["Protocol"]]), pairs_of(request.get("Tags", []))
            )
            self.store.save(found)
        elif not shapes.same(found.shown, shown):
            text = f"A target group with the same name '{name}' exists, but with different settings"
            raise AwsError("DuplicateTargetGroupName", text)
        return {"TargetGroups": [self._shown_group(found)]}

    def describe_target_groups(self, caller: Caller, request: Request) -> Request:
        """All, the named ones, or those of a load balancer; an unknown one is refused."""
        found = chosen(
            self.store.groups.values(),
            {"TargetGroupArn": request.get("TargetGroupArns"), "TargetGroupName": request.get("Names")},
            "TargetGroupNotFound",
            "One or more target groups not found",
        )
        if "LoadBalancerArn" in request:
            arn = self.balancer(request["LoadBalancerArn"]).arn
            found = [one for one in found if arn in self.store.balancers_of(one.arn)]
        return paged("TargetGroups", [self._shown_group(one) for one in found], request)

    def modify_target_group(self, caller: Caller, request: Request) -> Request:
        """Changes its health check."""
        found = self.group(request["TargetGroupArn"])
        shown = {**found.shown, **{name: value for name, value in request.items() if name != "TargetGroupArn"}}
        shapes.check_health(shown)
        found.shown = shown
        self.store.save(found)
        self.traffic.changed(found)
        return {"TargetGroups": [self._shown_group(found)]}

    def delete_target_group(self, caller: Caller, request: Request) -> Request:
        """Deletes it; refused while a listener or a rule uses it."""
        arn = request["TargetGroupArn"]
        if self.store.balancers_of(arn):
            raise AwsError("ResourceInUse", f"Target group '{arn}' is currently in use by a listener or a rule")
        found = self.store.groups.get(arn)
        if found is not None:
            self.store.remove(arn)
            found.targets = []
            self.traffic.changed(found)
        return {}

    def describe_target_group_attributes(self, caller: Caller, request: Request) -> Request:
        """Its attributes."""
        return {"Attributes": listed(self.group(request["TargetGroupArn"]).attributes)}

    def modify_target_group_attributes(self, caller: Caller, request: Request) -> Request:
        """Stores attributes; deregistration delay and stickiness have an effect here."""
        group = self.group(request["TargetGroupArn"])
        wanted = group.attributes | {one["Key"]: one.get("Value", "") for one in request["Attributes"]}
        shapes.check_group_attributes(group.shown["Protocol"], wanted)
        return {"Attributes": self._modified(group, request)}

    # Listeners.

    async def create_listener(self, caller: Caller, request: Request) -> Request:
        """Binds the load balancer's address and port at once; the same request again returns the same one."""
        balancer = self.balancer(request["LoadBalancerArn"])
        name = balancer.arn.partition(":loadbalancer/")[2]
        shown = self._listener_shown(request, balancer, arn_of(caller, f"listener/{name}/{new_id()}"))
        for other in self.store.listeners_of(balancer.arn):
            if other.shown["Port"] == shown["Port"]:
                if shapes.same(other.shown, shown, "ListenerArn"):
                    return {"Listeners": [other.shown]}
                raise _duplicate(shown)
        listener = Listener(
            shown, dict(shapes.LISTENER_ATTRIBUTES[shown["Protocol"]]), pairs_of(request.get("Tags", []))
        )
        await self._opened(listener)
        await self._saved(listener, self.traffic.close(listener.arn))
        self.traffic_changed(listener.groups)
        return {"Listeners": [shown]}

    def describe_listeners(self, caller: Caller, request: Request) -> Request:
        """Those of a load balancer, or the named ones."""
        if not (request.get("LoadBalancerArn") or request.get("ListenerArns")):
            raise shapes.invalid("You must specify either listener ARNs or a load balancer ARN")
        known = list(self.store.listeners.values())
        if "LoadBalancerArn" in request:
            known = self.store.listeners_of(self.balancer(request["LoadBalancerArn"]).arn)
        wanted = {"ListenerArn": request.get("ListenerArns")}
        found = chosen(known, wanted, "ListenerNotFound", "One or more listeners not found")
        return paged("Listeners", [one.shown for one in found], request)

    async def modify_listener(self, caller: Caller, request: Request) -> Request:
        """Changes port, protocol, certificate, policy or default actions; binds a new socket only for another port."""
        listener = self.listener(request["ListenerArn"])
        balancer = self.balancer(listener.shown["LoadBalancerArn"])
        kept = dict(listener.shown)
        if request.get("Protocol", kept["Protocol"]) not in ENCRYPTED:
            kept = {name: value for name, value in kept.items() if name not in MEMBERS}
        shown = self._listener_shown({**kept, **request}, balancer, listener.arn)
        others = [one for one in self.store.listeners_of(balancer.arn) if one is not listener]
        if any(one.shown["Port"] == shown["Port"] for one in others):
            raise _duplicate(shown)
        before, groups, certificates = listener.shown, listener.groups, listener.certificates
        moved = any(shown.get(name) != before.get(name) for name in ("Port", "Protocol", "SslPolicy"))
        if moved:
            await self._opened(Listener(shown, certificates=certificates))
        listener.shown = shown
        await self._saved(listener, self._opened(listener) if moved else None)  # back as it was
        self.traffic.show_certificates(listener)
        self.traffic_changed([*groups, *listener.groups])
        return {"Listeners": [shown]}

    def describe_listener_attributes(self, caller: Caller, request: Request) -> Request:
        """Its attributes."""
        return {"Attributes": listed(self.listener(request["ListenerArn"]).attributes)}

    def modify_listener_attributes(self, caller: Caller, request: Request) -> Request:
        """Stores attributes; none has an effect here."""
        return {"Attributes": self._modified(self.listener(request["ListenerArn"]), request)}

    async def delete_listener(self, caller: Caller, request: Request) -> Request:
        """Closes its socket and forgets it, with its rules."""
        listener = self.listener(request["ListenerArn"])
        rules = self.store.rules_of(listener.arn)
        self.store.remove(listener.arn, *(rule.arn for rule in rules))
        await self.traffic.close(listener.arn)
        self.traffic_changed([*listener.groups, *(group for rule in rules for group in rule.groups)])
        return {}

    # Targets.

    def register_targets(self, caller: Caller, request: Request) -> Request:
        """Adds addresses; existing ones stay unchanged."""
        group = self.group(request["TargetGroupArn"])
        for target in _targets(request["Targets"], group.shown["Port"]):
            if target not in group.targets:
                group.targets.append(target)
        self.store.save(group)
        self.traffic.changed(group)
        return {}

    def deregister_targets(self, caller: Caller, request: Request) -> Request:
        """Removes addresses: no new connections; open ones go on."""
        group = self.group(request["TargetGroupArn"])
        gone = {(one["Id"], one.get("Port")) for one in request["Targets"]}
        group.targets = [one for one in group.targets if one not in gone and (one[0], None) not in gone]
        self.store.save(group)
        self.traffic.changed(group)
        return {}

    def describe_target_health(self, caller: Caller, request: Request) -> Request:
        """Health of all targets of a group, or of the named ones."""
        group = self.group(request["TargetGroupArn"])
        known = dict(self.traffic.targets(group))
        unknown = Health("unused", "Target.NotRegistered", "Target is not registered to the target group")
        wanted = _targets(request["Targets"], group.shown["Port"]) if "Targets" in request else list(known)
        return {
            "TargetHealthDescriptions": [shapes.target_health(group, one, known.get(one, unknown)) for one in wanted]
        }

    # Tags.

    def add_tags(self, caller: Caller, request: Request) -> Request:
        """Tags load balancers, target groups, listeners, rules."""
        for thing in self._things(request):
            thing.tags.update(pairs_of(request["Tags"]))
            self.store.save(thing)
        return {}

    def remove_tags(self, caller: Caller, request: Request) -> Request:
        """Removes tags."""
        for thing in self._things(request):
            thing.tags = {key: value for key, value in thing.tags.items() if key not in request["TagKeys"]}
            self.store.save(thing)
        return {}

    def describe_tags(self, caller: Caller, request: Request) -> Request:
        """Tags of things."""
        things = self._things(request)
        return {"TagDescriptions": [{"ResourceArn": one.arn, "Tags": listed(one.tags)} for one in things]}

    def _things(self, request: Request) -> list[Thing]:
        return [self.thing(arn) for arn in request["ResourceArns"]]

    def _shown_group(self, group: TargetGroup) -> Request:
        return {**group.shown, "LoadBalancerArns": self.store.balancers_of(group.arn)}

    def _listener_shown(self, request: Request, balancer: LoadBalancer, arn: str) -> Request:
        kind = balancer.shown["Type"]
        actions = self.actions(request["DefaultActions"], balancer)
        return shapes.listener(request, arn, kind, actions) | shown_tls(request, self.certificates)

    def _modified(self, thing: LoadBalancer | TargetGroup | Listener, request: Request) -> list[Request]:
        thing.attributes.update({one["Key"]: one.get("Value", "") for one in request["Attributes"]})
        self.store.save(thing)
        return listed(thing.attributes)

    async def _saved(self, listener: Listener, undo: Coroutine[Any, Any, None] | None) -> None:
        """Writes it; if the disk cannot take it, restores its socket."""
        try:
            self.store.save(listener)
        except Unavailable:
            if undo is not None:
                await undo
            raise
        if undo is not None:
            undo.close()

    async def _opened(self, listener: Listener) -> None:
        try:
            await self.traffic.open(listener)
        except Refused as error:
            raise shapes.invalid(f"The listener cannot be made: {error}") from error


def _balancer(one: LoadBalancer) -> Request:
    return {**one.shown, "CreatedTime": datetime.fromtimestamp(one.shown["CreatedTime"], UTC)}


def _duplicate(shown: Request) -> AwsError:
    return AwsError("DuplicateListener", f"A listener already exists on port {shown['Port']} for this load balancer")


def _targets(targets: Sequence[Request], port: int) -> list[tuple[str, int]]:
    return [(one["Id"], one.get("Port", port)) for one in targets]
