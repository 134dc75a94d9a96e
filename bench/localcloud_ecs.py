"""ECS alone, without Airflow: our server, moto's and ministack, each a process, measured from outside.

DescribeTasks of 100 ECS tasks with 1 and 8 clients; 1,000 shell tasks, 16 at a time; 1,000 running at once while
nothing changes; start with 10,000 ECS tasks in the history. Used by ``localcloud.py``; as a program it is our server.

Clients of DescribeTasks are raw sockets that send the same signed request again and again: boto3 itself would be what
is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import boto3
import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from skylift.localcloud.alone import AloneCloud
from skylift.wire.serve import listen
from skylift.wire.signing.keys import Key

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
ACCOUNT, REGION, IMAGE = "000000000000", "us-east-1", "bench/shell"
KEY, SECRET = "AKIABENCH", "bench-secret"
MOTO = [str(BIN / "uv"), "tool", "run", "--from", "moto[server,ecs,ec2]==5.2.5", "moto_server"]
"""Its server needs Flask, which skylift does not."""
MOST_AT_ONCE = 16
SECONDS = 4.0
"""How long each rate is measured."""


class Shell:
    """An image that is this machine's shell."""

    entrypoint = ("/bin/sh", "-c")
    default_command: tuple[str, ...] = ()
    template = ""
    environment: ClassVar = {"PATH": "/usr/bin:/bin"}

    def executable(self, word: str) -> Path | None:
        found = shutil.which(word, path=self.environment["PATH"])
        return Path(found) if found else None

    def find(self, _reference: str) -> Shell:
        return self

    def build(self, _reference: str, _progress: Callable[[str], None]) -> Shell:
        return self


async def serve(home: Path, port: int, slots: int) -> None:
    """Our server, until SIGTERM."""
    owner = Key(KEY, SECRET, f"arn:aws:iam::{ACCOUNT}:user/bench")
    alone = AloneCloud(home, listen(port), owner, b"x" * 32, Shell(), account=ACCOUNT, region=REGION, slots=slots)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await alone.run(stopping, lambda: None)


class Served:
    """A server process and how to call it."""

    def __init__(self, words: list[str], port: int, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        begun = time.monotonic()
        self.process = subprocess.Popen(
            words, env={**os.environ, **environment}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            with contextlib.suppress(Exception):
                self.client("ecs").list_clusters()
                break
            if self.process.poll() is not None or time.monotonic() - begun > 180:
                raise RuntimeError(f"{words[0]} did not start")
            time.sleep(0.02)
        self.start_seconds = time.monotonic() - begun

    def client(self, service: str) -> Any:
        config = Config(retries={"total_max_attempts": 3}, max_pool_connections=20)
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=config,
        )

    def cpu(self) -> float:
        """Seconds of CPU of the server itself so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def rss(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def ours(home: Path, slots: int = MOST_AT_ONCE) -> Iterator[Served]:
    port = free_port()
    served = Served([sys.executable, __file__, "--serve", str(home), str(port), str(slots)], port)
    try:
        yield served
    finally:
        served.end()


@contextlib.contextmanager
def other(words: list[str], **environment: str) -> Iterator[Served]:
    port = free_port()
    filled = [word.format(port=port) for word in words]
    served = Served(filled, port, **{name: value.format(port=port) for name, value in environment.items()})
    try:
        yield served
    finally:
        served.end()


def register(ecs: Any, family: str = "bench") -> str:
    request = {
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{"name": "main", "image": IMAGE, "command": ["sleep 600"], "memory": 512}],
    }
    return str(ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"])


def network(served: Served) -> dict[str, Any]:
    """A real subnet and security group: moto answers 500 without them."""
    ec2 = served.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": True})
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="bench", Description="bench", VpcId=vpc)["GroupId"]
    return {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}}


def describe_rates(served: Served) -> dict[str, float]:
    """Calls a second of DescribeTasks with 100 ECS tasks, by the number of clients."""
    ecs = served.client("ecs")
    ecs.create_cluster(clusterName="default")
    definition, place = register(ecs), network(served)
    arns: list[str] = []
    while len(arns) < 100:
        answer = ecs.run_task(
            taskDefinition=definition, launchType="FARGATE", networkConfiguration=place, count=10, cluster="default"
        )
        arns += [task["taskArn"] for task in answer["tasks"]]
    time.sleep(3)  # ours: until all of them run
    request = signed(served.url, {"cluster": "default", "tasks": arns})
    return {f"describe_100_rate_{clients}": rate(served.port, request, clients) for clients in (1, 8)}


def signed(url: str, body: dict[str, Any]) -> bytes:
    """The bytes of a DescribeTasks request."""
    payload = json.dumps(body).encode()
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeTasks",
    }
    request = AWSRequest("POST", url + "/", headers=headers, data=payload)
    SigV4Auth(Credentials(KEY, SECRET), "ecs", REGION).add_auth(request)
    lines = [
        f"POST / HTTP/1.1\r\nHost: {url.removeprefix('http://')}",
        *(f"{k}: {v}" for k, v in request.headers.items()),
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(payload)}", "Connection: keep-alive", "", ""]).encode() + payload


def rate(port: int, request: bytes, clients: int) -> float:
    stop = threading.Event()
    with ThreadPoolExecutor(clients) as pool:
        begun = time.monotonic()
        counts = [pool.submit(hammer, port, request, stop) for _ in range(clients)]
        time.sleep(SECONDS)
        stop.set()
        total = sum(count.result() for count in counts)
        return round(total / (time.monotonic() - begun), 1)


def hammer(port: int, request: bytes, stop: threading.Event) -> int:
    done = 0
    connection: socket.socket | None = None
    while not stop.is_set():
        connection = connection or socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        if not read_answer(connection):
            connection.close()
            connection = None
        done += 1
    if connection is not None:
        connection.close()
    return done


def read_answer(connection: socket.socket) -> bool:
    """Reads one answer. False when the server will close the connection. Raises when it is no success."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = bytes(data).partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b" 200 " not in lines[0]:
        raise RuntimeError(head.decode() + rest.decode())
    size = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    left = size - len(rest)
    while left > 0:
        left -= len(connection.recv(min(left, 1 << 20)))
    return b"connection: close" not in lines


def thousand_short(served: Served) -> dict[str, float]:
    """1,000 shell tasks, at most 16 at a time: seconds from the first submit to the last STOPPED, and the server's
    CPU."""
    ecs = served.client("ecs")
    ecs.create_cluster()
    definition = register(ecs)
    time.sleep(1)
    cpu, begun = served.cpu(), time.monotonic()

    def submit(number: int) -> None:
        overrides = {"containerOverrides": [{"name": "main", "command": [f"exit {number % 7}"]}]}
        ecs.run_task(
            taskDefinition=definition, networkConfiguration=PLACE, overrides=overrides, clientToken=f"t{number}"
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(submit, range(1000)))
    submitted = time.monotonic() - begun
    while any(ecs.describe_clusters()["clusters"][0][name] for name in ("runningTasksCount", "pendingTasksCount")):
        time.sleep(0.25)
    while ecs.list_tasks(desiredStatus="RUNNING")["taskArns"]:
        time.sleep(0.25)
    while len(stopped := all_tasks(ecs, "STOPPED")) < 1000:
        time.sleep(0.25)
    seconds, used = time.monotonic() - begun, served.cpu() - cpu
    codes = [code for part in chunks(stopped) for code in exit_codes(ecs, part)]
    assert sorted(codes) == sorted(number % 7 for number in range(1000)), "exit codes are wrong"
    return {"short_1000_submit_seconds": submitted, "short_1000_seconds": seconds, "short_1000_cpu_seconds": used}


PLACE = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}


def all_tasks(ecs: Any, status: str) -> list[str]:
    pages = ecs.get_paginator("list_tasks").paginate(desiredStatus=status)
    return [arn for page in pages for arn in page["taskArns"]]


def chunks(arns: list[str]) -> Iterator[list[str]]:
    return (arns[at : at + 100] for at in range(0, len(arns), 100))


def exit_codes(ecs: Any, arns: list[str]) -> list[int]:
    tasks = ecs.describe_tasks(tasks=arns)["tasks"]
    assert all(task["lastStatus"] == "STOPPED" for task in tasks)
    return [task["containers"][0]["exitCode"] for task in tasks]


def thousand_at_once(served: Served) -> dict[str, float]:
    """The server's share of a core while 1,000 ECS tasks run and nothing changes."""
    ecs = served.client("ecs")
    ecs.create_cluster()
    definition = register(ecs)
    begun = time.monotonic()
    for _ in range(100):
        ecs.run_task(taskDefinition=definition, networkConfiguration=PLACE, count=10)
    while ecs.describe_clusters()["clusters"][0]["runningTasksCount"] < 1000:
        assert time.monotonic() - begun < 120
        time.sleep(0.5)
    started = time.monotonic() - begun
    time.sleep(5)
    cpu, begun = served.cpu(), time.monotonic()
    time.sleep(10)
    idle = (served.cpu() - cpu) / (time.monotonic() - begun)
    return {
        "at_once_1000_started_seconds": started,
        "at_once_1000_idle_core": idle,
        "at_once_1000_rss_bytes": served.rss(),
    }


def history(home: Path) -> float:
    """Seconds from exec to the first answer, with 10,000 stopped ECS tasks in the store."""
    with ours(home) as served:
        ecs = served.client("ecs")
        ecs.create_cluster()
        answer = ecs.run_task(
            taskDefinition=register(ecs),
            networkConfiguration=PLACE,
            overrides={"containerOverrides": [{"name": "main", "command": ["exit 0"]}]},
        )
        arn = answer["tasks"][0]["taskArn"]
        ecs.get_waiter("tasks_stopped").wait(tasks=[arn], WaiterConfig={"Delay": 1})
    multiply(home / "cloud" / "cloud.db", 10_000)
    with ours(home) as served:
        assert len(all_tasks(served.client("ecs"), "STOPPED")) == 10_001
        return served.start_seconds


def multiply(path: Path, times: int) -> None:
    """Copies the one ECS task of a store, under other ids."""
    disk = sqlite3.connect(path)
    name, body = disk.execute("SELECT id, body FROM ecs WHERE kind = 'task'").fetchone()
    disk.executemany(
        "INSERT INTO ecs VALUES ('task', ?, ?)",
        ((f"{n:032x}", body.replace(name, f"{n:032x}")) for n in range(times)),
    )
    disk.commit()
    disk.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def describing(folder: Path) -> dict[str, dict[str, float]]:
    """DescribeTasks, of all three servers."""
    figures = {}
    with ours(folder / "describe", 200) as served:
        figures["skylift"] = describe_rates(served)
    with other([*MOTO, "-p", "{port}"]) as served:
        figures["moto"] = describe_rates(served)
    with other([str(BIN / "ministack")], GATEWAY_PORT="{port}", BIND_HOST="127.0.0.1", PERSIST_STATE="0") as served:
        figures["ministack"] = describe_rates(served)
    return figures


def short(folder: Path) -> dict[str, dict[str, float]]:
    """1,000 shell tasks."""
    with ours(folder / "short") as served:
        return {"skylift": thousand_short(served)}


def at_once(folder: Path) -> dict[str, dict[str, float]]:
    """1,000 running."""
    with ours(folder / "at-once", 1000) as served:
        return {"skylift": thousand_at_once(served)}


def long_history(folder: Path) -> dict[str, dict[str, float]]:
    """Start with nothing, and with 10,000 in the history."""
    with ours(folder / "history") as served:
        empty = served.start_seconds
    return {"skylift": {"start_10000_seconds": history(folder / "history"), "start_empty_seconds": empty}}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
