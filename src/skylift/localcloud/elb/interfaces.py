"""The network interfaces of load balancers: one in each subnet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from skylift.localcloud.elb.store import ElbStore
from skylift.localcloud.interfaces import InterfaceSource, ServiceInterface


class BalancerInterfaces(InterfaceSource):
    """Those of one store."""

    def __init__(self, store: ElbStore) -> None:
        self._store = store

    def interfaces(self) -> Iterable[ServiceInterface]:
        """One for each subnet of each load balancer."""
        for balancer in list(self._store.balancers.values()):
            name = balancer.arn.partition(":loadbalancer/")[2]
            outside = balancer.shown.get("Scheme") == "internet-facing"
            for zone in balancer.shown["AvailabilityZones"]:
                ident = hashlib.sha256(f"{balancer.arn}{zone['SubnetId']}".encode()).hexdigest()
                yield ServiceInterface(
                    f"eni-{ident[:17]}",
                    zone["SubnetId"],
                    tuple(balancer.shown.get("SecurityGroups", ())),
                    balancer.address,
                    f"ELB {name}",
                    "amazon-elb",
                    f"ela-attach-{ident[17:25]}",
                    balancer.address if outside else "",
                    ":".join(("0a", *(ident[at : at + 2] for at in range(30, 40, 2)))),
                )
