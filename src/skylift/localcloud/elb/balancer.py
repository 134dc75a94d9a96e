"""Elastic Load Balancing that really balances: each load balancer has its own loopback address, each listener a socket.

``http://127.66.x.y:8080`` stays the same over restarts, because the store keeps addresses. A home's range 127.66.x
follows from its path, so that two skylifts on one machine (a user's and a test's) do not collide.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skylift.core.clock import Clock
from skylift.core.errors import Refused
from skylift.localcloud.certificates.authority import KeyPair
from skylift.localcloud.elb.actions import answer_of
from skylift.localcloud.elb.conditions import meets
from skylift.localcloud.elb.forward import Forwarder, Routed
from skylift.localcloud.elb.health import Health, TargetCheck, judged, pause, probe
from skylift.localcloud.elb.interfaces import BalancerInterfaces
from skylift.localcloud.elb.provider import ElbProvider
from skylift.localcloud.elb.requests import HttpRequest, Target
from skylift.localcloud.elb.shapes import LISTENERS
from skylift.localcloud.elb.stickiness import (
    group_seconds,
    new_cookies,
    stickiness_of,
    sticky_group,
    sticky_target,
)
from skylift.localcloud.elb.store import ElbStore, Listener, TargetGroup, weights_of
from skylift.localcloud.elb.tls import ENCRYPTED, Certificates, Termination
from skylift.localcloud.interfaces import InterfaceSource
from skylift.wire.errors import AwsError

REBIND_SECONDS = 2.0
DELAY = "deregistration_delay.timeout_seconds"
REST_SECONDS = 1.0
"""Nothing has moved for so long after an answer began: it is complete. Bytes alone do not say so."""
DRAIN_LOOK_SECONDS = 0.05
ADDRESSES_PER_HOME = 254
UNUSED = Health("unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer")
DRAINING = Health("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")

_log = logging.getLogger("skylift.localcloud.elb.balancer")


class Shares:
    """Picks one of several target groups so often as their weights say, spread as evenly as can be."""

    def __init__(self) -> None:
        self._credit: dict[str, dict[str, int]] = {}

    def pick(self, who: str, weights: Mapping[str, int]) -> str:
        """The next target group (ARN); empty if all weights are 0.

        Args:
            who: ARN of the rule or listener.
            weights: of its target groups.
        """
        wanted = {group: weight for group, weight in weights.items() if weight}
        if len(wanted) < 2:
            return next(iter(wanted), "")
        before = self._credit.get(who, {})
        credit = {group: before.get(group, 0) + weight for group, weight in wanted.items()}
        best = max(credit, key=lambda group: credit[group])
        credit[best] -= sum(wanted.values())
        self._credit[who] = credit
        return best


class Balancer:
    """The load balancers of one home.

    Attributes:
        provider: serves ``elbv2`` on the wire.
        interfaces: network interfaces of the load balancers.
    """

    def __init__(self, home: Path, clock: Clock, certificates: Certificates, database: Path | None = None) -> None:
        """Reads ``database`` (its own table in it; default ``{home}/cloud.db``); binds nothing yet."""
        self._certificates = certificates
        self._terminations: dict[str, Termination] = {}
        self._clock = clock
        self._store = ElbStore(database or home / "cloud.db")
        self._network = f"127.66.{hashlib.blake2b(str(home.resolve()).encode(), digest_size=1).digest()[0]}"
        self._forwarders: dict[str, Forwarder] = {}
        self._checks: dict[tuple[str, Target], asyncio.Task[None]] = {}
        self._healths: dict[tuple[str, Target], Health] = {}
        self._draining: dict[tuple[str, Target], float] = {}
        self._turns: dict[str, deque[Target]] = {}
        self._shares = Shares()
        self._rebinding: asyncio.Task[None] | None = None
        self.provider = ElbProvider(self._store, self, certificates, clock)
        self.interfaces: InterfaceSource = BalancerInterfaces(self._store)

    async def start(self) -> None:
        """Binds the stored listeners, and checks their targets again.

        If somebody else has taken a port meanwhile, tries again every 2 s; until then its load balancer is
        ``active_impaired``.
        """
        if not await self._bound():
            self._rebinding = asyncio.create_task(self._rebind())
        for group in self._store.groups.values():
            self.changed(group)

    async def stop(self) -> None:
        """Closes all sockets and connections."""
        running = [*self._checks.values(), *([self._rebinding] if self._rebinding else [])]
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._checks.clear()
        for arn in list(self._forwarders):
            await self._forwarders.pop(arn).stop()
        self._store.close()

    # For ECS services.

    def knows(self, target_group_arn: str) -> bool:
        """Whether there is such a target group."""
        return target_group_arn in self._store.groups

    async def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Adds a target; harmless if it exists. Raises ``AwsError`` (TargetGroupNotFound)."""
        group = self._group(target_group_arn)
        if (address, port) not in group.targets:
            group.targets.append((address, port))
            self._store.save(group)
            self.changed(group)

    async def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Removes a target; harmless if it, or the group, does not exist. Its open connections go on."""
        group = self._store.groups.get(target_group_arn)
        if group is not None and (address, port) in group.targets:
            group.targets.remove((address, port))
            self._store.save(group)
            self.changed(group)

    async def drained(self, target_group_arn: str, address: str, port: int) -> None:
        """Returns when nothing is in progress any longer with a deregistered target, or its group's deregistration
        delay has passed. Connections that rest meanwhile are closed, so that their clients go to another target."""
        group = self._store.groups.get(target_group_arn)
        delay = float(group.attributes.get(DELAY, "0")) if group is not None else 0.0
        until = time.monotonic() + delay
        while self._in_progress((address, port)) and time.monotonic() < until:
            await asyncio.sleep(DRAIN_LOOK_SECONDS)

    def health(self, target_group_arn: str, address: str, port: int) -> str:
        """``initial``, ``healthy``, ``unhealthy``, ``draining``, or ``unused``."""
        known = dict(self.targets(self._group(target_group_arn)))
        return known.get((address, port), UNUSED).state

    # For the provider.

    def free_address(self) -> str:
        """The first address of this home that no load balancer has; 127.0.0.1 if there is only one loopback address
        (macOS)."""
        if not sys.platform.startswith("linux"):
            return "127.0.0.1"
        taken = {one.address for one in self._store.balancers.values()}
        for last in range(1, ADDRESSES_PER_HOME + 1):
            if f"{self._network}.{last}" not in taken:
                return f"{self._network}.{last}"
        raise AwsError(
            "TooManyLoadBalancers",
            f"There are {ADDRESSES_PER_HOME} load balancers, one per address of {self._network}.0/24",
        )

    async def open(self, listener: Listener) -> None:
        """Binds a listener's socket, then releases its previous one. Raises ``Refused``."""
        address = self._store.balancers[listener.shown["LoadBalancerArn"]].address
        arn, port = listener.arn, int(listener.shown["Port"])
        termination = self._termination(listener)
        forwarder = Forwarder(
            address,
            port,
            lambda: self._choose(arn),
            http=listener.shown["Protocol"] in LISTENERS["application"],
            route=lambda request: self._route(arn, request),
            tls=termination.context if termination else None,
        )
        before = self._forwarders.get(arn)
        await forwarder.start(before)
        self._forwarders[arn] = forwarder
        self._terminations.pop(arn, None)
        if termination:
            self._terminations[arn] = termination
        if before is not None:
            await before.stop()

    def show_certificates(self, listener: Listener) -> None:
        """Shows the certificates that an encrypted listener has now. Raises ``Refused``: one is gone."""
        termination = self._terminations.get(listener.arn)
        if termination is not None:
            termination.show(self._pairs(listener))

    def certificate_changed(self, arn: str) -> None:
        """Another certificate stands behind an ARN: its listeners show it at once."""
        for listener in self._store.listeners.values():
            if arn in listener.all_certificates:
                self.show_certificates(listener)

    def showing(self, certificate: str) -> list[str]:
        """ARNs of the load balancers that show a certificate (ARN)."""
        return self._store.balancers_showing(certificate)

    def _termination(self, listener: Listener) -> Termination | None:
        if listener.shown["Protocol"] not in ENCRYPTED:
            return None
        termination = Termination(listener.shown["SslPolicy"])
        termination.show(self._pairs(listener))
        return termination

    def _pairs(self, listener: Listener) -> list[KeyPair]:
        found = {arn: self._certificates.pair(arn) for arn in listener.all_certificates}
        gone = [arn for arn, pair in found.items() if pair is None]
        if gone:
            raise Refused(f"the certificate {gone[0]} is gone: give the listener another one")
        return [pair for pair in found.values() if pair is not None]

    async def close(self, arn: str) -> None:
        """Closes a listener's socket and connections."""
        forwarder = self._forwarders.pop(arn, None)
        self._terminations.pop(arn, None)
        if forwarder is not None:
            await forwarder.stop()

    def targets(self, group: TargetGroup) -> list[tuple[Target, Health]]:
        """Targets with their health, then those being drained: deregistered, but with open connections."""
        used = bool(self._store.balancers_of(group.arn))
        found = [(one, self._healths.get((group.arn, one), Health()) if used else UNUSED) for one in group.targets]
        for (arn, target), until in list(self._draining.items()):
            if until < self._clock() or not self._connections(target):
                del self._draining[arn, target]
            elif arn == group.arn and target not in group.targets:
                found.append((target, DRAINING))
        return found

    def changed(self, group: TargetGroup) -> None:
        """Starts and stops health checks, so that exactly the targets of groups in use are checked."""
        wanted = {(group.arn, target) for target in group.targets} if self._store.balancers_of(group.arn) else set()
        here = {key for key in self._checks if key[0] == group.arn}
        for key in here - wanted:
            self._checks.pop(key).cancel()
            self._healths.pop(key, None)
            if key[1] not in group.targets:
                delay = float(group.attributes.get(DELAY, "300"))
                self._draining[key] = self._clock() + delay
        for key in wanted - here:
            self._healths[key] = Health(since=self._clock())
            self._checks[key] = asyncio.get_running_loop().create_task(self._check(*key))

    def _group(self, arn: str) -> TargetGroup:
        if arn not in self._store.groups:
            raise AwsError("TargetGroupNotFound", f"Target group '{arn}' not found")
        return self._store.groups[arn]

    async def _check(self, arn: str, target: Target) -> None:
        """Checks one target until it is removed."""
        while arn in self._store.groups:
            check = TargetCheck.of(self._store.groups[arn].shown)
            seen = await probe(*target, check)
            health = judged(self._healths[arn, target], seen, check, self._clock())
            self._healths[arn, target] = health
            await asyncio.sleep(pause(health, check, self._clock()))

    def _choose(self, listener: str) -> Sequence[Target] | None:
        """Targets for a new connection; ``None``: its request must be looked at."""
        shown = self._store.listeners[listener].shown
        actions = shown["DefaultActions"]
        told = shown["Protocol"] == "HTTPS"  # targets are told so in the head of each request
        if told or actions[0]["Type"] != "forward" or self._store.rules_of(listener) or self._is_sticky(actions[0]):
            return None
        return self._candidates(self._shares.pick(listener, weights_of(actions[0])))

    def _is_sticky(self, action: Mapping[str, Any]) -> bool:
        groups = (self._store.groups.get(arn) for arn in weights_of(action))
        return group_seconds(action) is not None or any(one and stickiness_of(one.attributes) for one in groups)

    def _route(self, listener: str, request: HttpRequest) -> Routed | bytes:
        """What the rule with the highest priority says whose conditions a request meets."""
        shown = self._store.listeners[listener].shown
        rules = ((one.arn, one.shown) for one in self._store.rules_of(listener))
        found = next(((arn, one["Actions"]) for arn, one in rules if meets(one["Conditions"], request)), None)
        arn, actions = found or (listener, shown["DefaultActions"])
        if actions[0]["Type"] == "forward":
            return self._forwarded(arn, actions[0], request)
        address = self._store.balancers[shown["LoadBalancerArn"]].address
        return answer_of(actions[0], request, int(shown["Port"]), address)

    def _forwarded(self, who: str, action: Mapping[str, Any], request: HttpRequest) -> Routed:
        """To the target that the client's cookies name, if it may still be asked; otherwise to the next one."""
        now, weights = self._clock(), weights_of(action)
        group = sticky_group(request, action, now)
        if not weights.get(group):
            group = self._shares.pick(who, weights)
        targets = self._candidates(group)
        known = self._store.groups.get(group)
        sticky = stickiness_of(known.attributes) if known is not None else None
        wanted = sticky_target(request, group, sticky, now)
        if wanted in targets:
            targets = [wanted, *(one for one in targets if one != wanted)]
        encrypted = request.scheme == "https"
        return Routed(targets, new_cookies(group, sticky, group_seconds(action), encrypted=encrypted, now=now))

    def _candidates(self, group: str) -> list[Target]:
        """Targets of a group: healthy ones in turn; if there are none, the unhealthy ones (like AWS); never new
        ones."""
        targets = self._store.groups[group].targets if group in self._store.groups else []
        states = {target: self._healths.get((group, target), Health()).state for target in targets}
        best = [one for one, state in states.items() if state == "healthy"]
        best = best or [one for one, state in states.items() if state == "unhealthy"]
        turns = self._turns.setdefault(group, deque())
        turns.extend(one for one in best if one not in turns)
        ordered = [one for one in turns if one in best]
        self._turns[group] = deque([*ordered[1:], *ordered[:1]])
        return ordered

    def _connections(self, target: Target) -> int:
        return sum(forwarder.connections(target) for forwarder in self._forwarders.values())

    def _in_progress(self, target: Target) -> int:
        return sum(forwarder.close_idle(target, REST_SECONDS) for forwarder in self._forwarders.values())

    async def _rebind(self) -> None:
        while not await self._bound():
            await asyncio.sleep(REBIND_SECONDS)

    async def _bound(self) -> bool:
        """Binds listeners without a socket. Returns whether all have one now."""
        complete = True
        for listener in [one for one in self._store.listeners.values() if one.arn not in self._forwarders]:
            shown = self._store.balancers[listener.shown["LoadBalancerArn"]].shown
            try:
                await self.open(listener)
                shown["State"] = {"Code": "active"}
            except Refused as error:
                complete = False
                if shown["State"]["Code"] == "active":
                    _log.warning("load balancer %s: %s", shown["LoadBalancerName"], error)
                shown["State"] = {"Code": "active_impaired", "Reason": str(error)}
        return complete
