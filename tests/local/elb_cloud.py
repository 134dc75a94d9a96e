"""A load balancer behind the real wire, in a thread, for boto3 and plain sockets; and targets to stand behind it."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from skylift.localcloud.certificates.authority import Authority
from skylift.localcloud.certificates.provider import CertificateProvider
from skylift.localcloud.certificates.store import CertificateStore
from skylift.localcloud.elb.balancer import Balancer
from skylift.wire.app import WireApp
from skylift.wire.serve import HttpServer, listen
from skylift.wire.signing.keys import Key, StaticKeys

KEY = Key("AKIATESTTESTTESTTEST", "secret", "arn:aws:iam::000000000000:user/test")


@dataclass
class Cloud:
    """What a test holds."""

    balancer: Balancer
    loop: asyncio.AbstractEventLoop
    elb: Any
    acm: Any
    authority: Authority

    def run(self, work: Any) -> Any:
        """Runs a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)


@contextmanager
def balancing(home: Path) -> Iterator[Cloud]:
    """A balancer of this home, with a boto3 client."""
    ready: list[Any] = []
    up = threading.Event()

    async def serve() -> None:
        certificates, authority = CertificateStore(home / "cloud.db"), Authority(home / "authority", time.time)
        balancer = Balancer(home, time.time, certificates, home / "cloud.db")
        changed = balancer.certificate_changed
        acm = CertificateProvider(certificates, authority, balancer.showing, changed, time.time)
        await balancer.start()
        server = HttpServer(WireApp([balancer.provider, acm], StaticKeys([KEY])), listen(0), grace=1)
        ready.extend([balancer, asyncio.get_running_loop(), server, authority])
        up.set()
        try:
            await server.run()
        finally:
            await balancer.stop()
            acm.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert up.wait(20)
    elb, acm = (
        boto3.client(
            service,
            endpoint_url=ready[2].url,
            region_name="us-east-1",
            aws_access_key_id=KEY.access_key,
            aws_secret_access_key=KEY.secret,
            config=Config(retries={"total_max_attempts": 1}),
        )
        for service in ("elbv2", "acm")
    )
    try:
        yield Cloud(ready[0], ready[1], elb, acm, ready[3])
    finally:
        ready[2].stop()
        thread.join(20)
        assert not thread.is_alive()


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


@contextmanager
def target(serve: Callable[[socket.socket], None], port: int = 0) -> Iterator[tuple[str, int]]:
    """A server on loopback that gives each connection to ``serve``."""

    class Visit(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                serve(self.request)
            except OSError:
                return

    class Listening(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with Listening(("127.0.0.1", port), Visit) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield "127.0.0.1", int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join(10)


def received_head(connection: socket.socket) -> bytes:
    """A request's head, with what came beyond it; empty if the client went before its end."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk
    return received


def refused(call: Callable[..., Any], **request: Any) -> str:
    """The code of the error."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def says(text: str, code: int = 200) -> Callable[[socket.socket], None]:
    """Answers every HTTP request with a text."""

    def serve(connection: socket.socket) -> None:
        if not received_head(connection):
            return
        head = f"HTTP/1.1 {code} X\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        connection.sendall(f"{head}{text}".encode())

    return serve


def make(cloud: Cloud, name: str, port: int, kind: str = "application", **check: Any) -> tuple[str, str, str]:
    """A load balancer, a target group and a listener. Returns address, target group's ARN, listener's ARN."""
    protocol = "HTTP" if kind == "application" else "TCP"
    made = cloud.elb.create_load_balancer(Name=name, Type=kind, Subnets=["subnet-1", "subnet-2"])["LoadBalancers"][0]
    group = cloud.elb.create_target_group(Name=f"{name}-g", Protocol=protocol, Port=80, TargetType="ip", **check)
    group_arn = group["TargetGroups"][0]["TargetGroupArn"]
    listener = cloud.elb.create_listener(
        LoadBalancerArn=made["LoadBalancerArn"],
        Protocol=protocol,
        Port=port,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group_arn}],
    )
    return made["DNSName"], group_arn, listener["Listeners"][0]["ListenerArn"]


def state(cloud: Cloud, group: str, address: tuple[str, int]) -> str:
    """A target's state, as boto3 sees it."""
    target = {"Id": address[0], "Port": address[1]}
    found = cloud.elb.describe_target_health(TargetGroupArn=group, Targets=[target])
    return str(found["TargetHealthDescriptions"][0]["TargetHealth"]["State"])
