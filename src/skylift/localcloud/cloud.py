"""The local cloud as a whole: our own ECS, Batch, load balancing and scaling, and emulators for the rest of AWS.

They are started and ended in order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sqlite3
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.batch.provider import BatchProvider
from skylift.localcloud.behind.setting import Behind
from skylift.localcloud.certificates.authority import AUTHORITY, Authority
from skylift.localcloud.certificates.provider import CertificateProvider
from skylift.localcloud.certificates.store import CertificateStore
from skylift.localcloud.containers.mounts import HOST_FOLDERS
from skylift.localcloud.containers.runner import Runner
from skylift.localcloud.damage import Damage, Damaged, Refusing
from skylift.localcloud.database import damage_of, examine, keep_copy
from skylift.localcloud.ecs.api import execute, sessions, usage
from skylift.localcloud.ecs.api.agent import AgentEndpoint
from skylift.localcloud.ecs.api.metadata import ContainerEndpoints
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.tasks.engine import Neighbours
from skylift.localcloud.ecs.tasks.interfaces import TaskInterfaces
from skylift.localcloud.ecs.tasks.launch import AGENT
from skylift.localcloud.ecs.tasks.slots import Slots, machine_slots, machine_start_limiter
from skylift.localcloud.elb.balancer import Balancer
from skylift.localcloud.emulators.for_ecs import AwsLogs, AwsMetrics, AwsSecrets
from skylift.localcloud.emulators.others import RestOfAws
from skylift.localcloud.events import Bus, EventDelivery, Events
from skylift.localcloud.faults.actions import FaultyBus, ecs_actions
from skylift.localcloud.faults.plan import Faults
from skylift.localcloud.faults.route import PREFIX, FaultRoute
from skylift.localcloud.iam.local import LocalIam
from skylift.localcloud.iam.mode import IamChoice
from skylift.localcloud.iam.route import PREFIX as IAM
from skylift.localcloud.images.built import BuiltImages as BuiltImages
from skylift.localcloud.interfaces import Interfaces
from skylift.localcloud.ports import Change, CloudContext, Document, Images, nobody
from skylift.localcloud.scaling.provider import ScalingProvider
from skylift.localcloud.state_route import STATE, StateRoute
from skylift.wire.asgi import Asgi
from skylift.wire.encryption import Tls
from skylift.wire.intercept import Interceptor, Interceptors
from skylift.wire.provider import Provider
from skylift.wire.signing.keys import DerivedKeys, Keyring

_log = logging.getLogger(__name__)
_MOST_FILES = 65535
"""Containers inherit this as their soft limit; it is Fargate's default for ``nofile``."""


class LocalCloud:
    """One AWS on this machine.

    Attributes:
        providers: the services that the wire serves with our providers.
        routes: path prefix to app, for containers (they send their own tokens).
        fallback: every other service.
        extra_keyring: the keys that IAM and STS have issued here.
        ecs: the ECS provider.
        batch: the Batch provider.
        faults: injected faults.
        interceptor: the wire's: the judge of IAM, if policies are enforced, then the faults.
        observed: who did what, if IAM is not off.
        signed_routes: path prefix to app, for people's tools; only signed requests reach them.
        tls: what the wire's server answers TLS with: a certificate of the state folder's authority.
    """

    def __init__(
        self,
        home: Path,
        endpoint: str,
        keys: DerivedKeys,
        account: str,
        region: str,
        clock: Clock,
        *,
        images: Images | None = None,
        runner: Runner | None = None,
        on_change: Change = nobody,
        slots: int = 0,
        iam: IamChoice | None = None,
        others: Behind | None = None,
    ) -> None:
        """Nothing runs before ``start``.

        Args:
            home: ``$SKYLIFT_HOME``.
            endpoint: where the wire will serve, e.g. ``http://127.0.0.1:4747``.
            keys: issues the containers' credentials.
            account: twelve digits.
            region: e.g. ``us-east-1``.
            clock: seconds since the epoch.
            images: what containers start from; default: the images that skylift builds.
            runner: what runs containers; default: processes on this machine.
            on_change: called on every change of an ECS task, a service or a Batch job.
            slots: ECS tasks outside services that run at a time (``ecs.tasks.slots.SLOTS``); 0: as many as fit.
            iam: whether IAM's policies are enforced, and for whom not.
            others: the endpoint that serves what need not be served here.
        """
        folder = home.absolute() / "cloud"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        cloud = CloudContext(account, region, endpoint, folder, host_folders=HOST_FOLDERS.read(os.environ))
        self._interfaces = Interfaces()
        self._rest = RestOfAws(home.absolute() / "rest", account, region, endpoint, self._interfaces, others)
        self._iam = LocalIam(iam or IamChoice(), self._rest.iam_state, cloud, clock)
        images = images or BuiltImages(home, home / "cache")

        def open_all(cloud: CloudContext) -> _Opened:
            balancer, acm = _balancing(cloud, clock)
            rest, bus = self._rest, _Bus(self._rest)
            faults, metrics, roles = Faults(clock), AwsMetrics(rest), self._iam.roles
            logs, secrets, registries = AwsLogs(rest), AwsSecrets(rest), rest.registries
            neighbours = Neighbours(images, logs, secrets, balancer, metrics, roles, faults, registries)
            events = Events(cloud, bus, clock)
            room = Slots(machine_slots(slots), machine_start_limiter())
            ecs = EcsProvider(cloud, neighbours, clock, on_change, runner, events, room)
            faults.perform_with(ecs_actions(ecs.engine))
            delivery = EventDelivery(cloud.database, events, FaultyBus(faults, bus))
            scaling = ScalingProvider(ecs, rest.scaling_metrics, rest.cron, clock)
            return balancer, acm, delivery, ecs, faults, BatchProvider(ecs, clock, on_change, faults), scaling

        opened, damage = _opened(cloud, open_all)
        self._balancer, self._acm, self._events, self.ecs, self.faults, self.batch, self._scaling = opened
        self._interfaces.of(TaskInterfaces(cloud, self.ecs.store), self._balancer.interfaces)
        self._database, self._damage = cloud.database, [damage] if damage is not None else []
        self._undo: list[Callable[[], Any]] = []
        self._expose(cloud, keys, damage)

    def _expose(self, cloud: CloudContext, keys: DerivedKeys, damage: Damage | None) -> None:
        """What the wire serves."""
        self.tls: Tls = cache(partial(self._server_context, Authority(cloud.folder.parent / AUTHORITY, time.time)))
        served = (self.ecs, self.batch, self._balancer.provider, self._acm, self._scaling)
        ours = [Refusing(one, damage) for one in served]
        self.providers: Sequence[Provider] = [*ours, *self._rest.providers]
        self._rest.targets.serve(ours)
        self.routes: Mapping[str, Asgi] = {
            **ContainerEndpoints(cloud, self.ecs.store, keys).routes,
            AGENT: AgentEndpoint(cloud, self.ecs.store, self.ecs).serve,
            sessions.ROUTE: self.ecs.sessions.serve,
        }
        self.signed_routes: Mapping[str, Asgi] = {
            PREFIX: FaultRoute(self.faults),
            execute.PREFIX: execute.ExecRoute(self.ecs),
            usage.PREFIX: usage.UsageRoute(self.ecs.engine.usage),
            STATE: StateRoute(self.damage),
            IAM: self._iam.route,
        }
        self.extra_keyring: Keyring = self._rest
        judge = self._iam.judge(self.ecs, self.batch)
        self.interceptor: Interceptor = Interceptors(judge, self.faults) if judge else self.faults
        self.fallback: Asgi = self._rest.judged_by(judge) if judge else self._rest.app
        self.observed = self._iam.observed

    def _server_context(self, authority: Authority) -> ssl.SSLContext | None:
        """``None``: the authority is damaged; clients with TLS are refused until the next start."""
        try:
            return authority.server_context()
        except Damaged as error:
            self.add_damage(error.damage)
            _log.error("%s", error)
            return None

    async def start(self) -> None:
        """Starts the rest of AWS first: logs and secrets must be there before containers go on."""
        _allow_many_files()
        for begin, end in (
            (self._rest.start, self._rest.stop),
            (self._balancer.start, self._balancer.stop),
            (self._events.start, self._events.close),
            (self.batch.recover, self.batch.close),  # before ECS forgets old ECS tasks, after the last has ended
            (self.ecs.start, self.ecs.close),
            (self._scaling.start, self._scaling.stop),
        ):
            self._undo.append(end)
            await begin()
        self.batch.begin()
        if not self._damage:
            asyncio.get_running_loop().run_in_executor(None, keep_copy, self._database)

    def damage(self) -> list[Damage]:
        """State that cannot be read; it is not served and not overwritten."""
        return [*self._damage, *self._rest.damage()]

    def add_damage(self, damage: Damage) -> None:
        """Adds a damaged file that others have found."""
        self._damage.append(damage)

    async def stop(self) -> None:
        """Ends containers, closes load balancers, saves the rest of AWS. Safe to call after a failed start."""
        while self._undo:
            await self._undo.pop()()
        self._acm.close()


def _balancing(cloud: CloudContext, clock: Clock) -> tuple[Balancer, CertificateProvider]:
    certificates = CertificateStore(cloud.database)
    balancer = Balancer(cloud.folder, clock, certificates, cloud.database)
    authority = Authority(cloud.folder.parent / AUTHORITY, clock)
    changed = balancer.certificate_changed
    return balancer, CertificateProvider(certificates, authority, balancer.showing, changed, clock)


_Opened = tuple[Balancer, CertificateProvider, EventDelivery, EcsProvider, Faults, BatchProvider, ScalingProvider]


def _opened(cloud: CloudContext, open_all: Callable[[CloudContext], _Opened]) -> tuple[_Opened, Damage | None]:
    """Opens what uses the database; if the file cannot be read, on an empty one in memory, and says what is wrong."""
    damage = examine(cloud.database)
    if damage is None:
        try:
            return open_all(cloud), None
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"a row is not what is kept there: {type(error).__name__}: {error}"
            damage = damage_of(cloud.database, why)
    return open_all(replace(cloud, damaged=True)), damage


def _allow_many_files() -> None:
    """Each container needs a descriptor; the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Bus(Bus):
    """The emulated EventBridge, in-process."""

    def __init__(self, rest: RestOfAws) -> None:
        self._rest = rest

    def wanted(self) -> bool:
        return self._rest.has_event_rules()

    def put(self, event: Document) -> None:
        self._rest.put_event(event)

    async def kept(self) -> None:
        await self._rest.events_kept()
