"""AWS for the bench of the executors: ECS, Batch, SQS and S3 with AWS's published limits; containers only play a
script.

One process on one event loop. Every access key is an account of its own (limits, containers, call log), so that rows of
the bench do not meet. ``/_bench`` (unsigned JSON) is where the bench says what shall happen and asks what did; ``Desk``
has the verbs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.aws_limits_account import LATENCY, LIMITS, Account, Plan
from bench.aws_limits_batch import Batch
from bench.aws_limits_ecs import ACCOUNT_ID, Ecs, arn_of
from bench.aws_limits_queue import Sqs, s3

from skylift.core.errors import Refused
from skylift.wire.app import WireApp
from skylift.wire.asgi import Answer, Receive, Scope, Send, read_body, send_answer
from skylift.wire.intercept import Call, Interception
from skylift.wire.serve import HttpServer, listen
from skylift.wire.signing.keys import Key

SECRET = "bench-secret"
MOST_BYTES = 64 * 1024 * 1024


class AnyKey:
    """Every access key is somebody's, with one secret for all."""

    def find(self, access_key: str, session_token: str) -> Key | None:
        return Key(access_key, SECRET, f"arn:aws:iam::{ACCOUNT_ID}:user/{access_key}", session_token)


class Desk:
    """The accounts, the wire's interceptor, and the verbs of ``/_bench``."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def account(self, key: str) -> Account:
        """The account of an access key; new when it is."""
        if key not in self._accounts:
            self._accounts[key] = Account()
        return self._accounts[key]

    async def interception(self, call: Call) -> Interception:
        """See ``wire.intercept.Interceptor``."""
        return await self.account(call.caller.access_key).interception(call)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """One request of the bench: ``{"account": …, "do": verb, …}``."""
        asked = json.loads(await read_body(receive, MOST_BYTES))
        verb, account = getattr(self, "do_" + asked.pop("do")), self.account(asked.pop("account"))
        try:
            status, answer = 200, verb(account, **asked)
        except (Refused, TypeError) as error:
            status, answer = 400, {"error": str(error)}
        await send_answer(send, Answer(status, {"content-type": "application/json"}, json.dumps(answer).encode()))

    # The verbs.

    def do_limit(self, account: Account, latency: float = LATENCY, on: bool = True) -> None:
        """AWS's limits from now on, with full buckets; or none."""
        account.faults.clear()
        for values in LIMITS if on else ():
            account.faults.set("throttle", values)
        if latency:
            account.faults.set("latency", {"delay": latency})

    def do_fault(self, account: Account, kind: str, name: str = "", **values: Any) -> dict[str, Any]:
        """A fault of the local cloud's kinds (``localcloud/faults/kinds.py``)."""
        return account.faults.set(kind, values, name=name)

    def do_clear(self, account: Account, name: str) -> int:
        return account.faults.clear(name)

    def do_plan(self, account: Account, task: str = "", plans: list[dict[str, Any]] | None = None) -> None:
        """How containers live: of one Airflow task, or of all without a plan of their own; the first, the second …"""
        account.plans[task] = [Plan(**plan) for plan in plans or [{}]]

    def do_seed(
        self, account: Account, count: int, batch: bool = False, external_ids: list[str] | None = None
    ) -> list[str]:
        """So many containers that run already, as if launched long ago."""
        refs = []
        for number in range(count):
            digits = account.next_id()
            ref = (
                f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
                if batch
                else arn_of(digits)
            )
            external = external_ids[number] if external_ids else ""
            request = {"jobName": f"seed-{external}", "startedBy": external, "overrides": {}}
            seeded = account.make(ref, "", request)
            seeded.created, seeded.plan = seeded.created - 3600, Plan()
            refs.append(ref)
        return refs

    def do_crash(self, account: Account, operation: str, number: int, when: str, pid: int) -> None:
        """SIGKILL to a process before (or after) the work of the n-th call of an operation."""
        account.crashes.append({"operation": operation, "number": number, "when": when, "pid": pid})

    def do_disarm(self, account: Account) -> None:
        """No crash point strikes any more: the process is over, and its pid may soon be another's."""
        account.crashes.clear()

    def do_hold(self, account: Account, operation: str, number: int, seconds: float) -> None:
        """The answer to that call is late: the work is done."""
        account.holds.append({"operation": operation, "number": number, "seconds": seconds})

    def do_finish(self, account: Account, count: int = -1, **plan: Any) -> int:
        """Ends so many that run (-1: all), as the plan says."""
        now = account.clock()
        some = [one for one in account.alive() if "children" not in one.extra]
        for one in some[: count if count >= 0 else None]:
            one.end(now, **plan)
            account.changed(one)
        return len(some)

    def do_mark(self, account: Account) -> None:
        """What lives and is not named by any call from now on is an orphan."""
        account.mark = account.clock()

    def do_stats(self, account: Account) -> dict[str, Any]:
        return account.stats()

    def do_count(self, account: Account) -> int:
        """Containers made so far."""
        return len(account.containers)

    def do_running(self, account: Account) -> list[str]:
        """Names of the workloads that run now: Airflow's API would have been told."""
        now = account.clock()
        return [name for name, mates in account.named.items() if any(mate.state(now) == "running" for mate in mates)]

    def do_log(self, account: Account, since: float = 0.0) -> list[tuple[float, str, str]]:
        return [call for call in account.calls if call[0] >= since]

    def do_forget(self, account: Account) -> None:
        """Frees the memory of an account that is not needed any more."""
        account.containers.clear()
        account.named.clear()
        account.calls.clear()


def app_of(desk: Desk) -> WireApp:
    """The endpoint."""
    providers = [Ecs(desk.account), Batch(desk.account), Sqs(desk.account)]
    return WireApp(providers, AnyKey(), fallback=s3(desk.account), routes={"/_bench": desk}, interceptor=desk)


class Aws:
    """One account of a running server, as the bench sees it.

    Args:
        url: of the server.
        account: its access key.
    """

    def __init__(self, url: str, account: str) -> None:
        self.url, self.account = url, account

    def do(self, verb: str, **asked: Any) -> Any:
        """One verb of the desk."""
        body = json.dumps({"account": self.account, "do": verb, **asked}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + "/_bench", data=body), timeout=60) as answer:
            return json.loads(answer.read())


@contextmanager
def running() -> Iterator[str]:
    """The server as a process of its own; gives its URL."""
    words = [sys.executable, "-m", "bench.aws_limits"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("the bench's AWS did not start")
            yield url
        finally:
            process.terminate()


async def serve() -> None:
    """Serves until SIGTERM, or until nobody is our parent any more; prints the URL first."""
    server = HttpServer(app_of(Desk()), listen(), grace=1)
    sys.stdout.write(server.url + "\n")
    sys.stdout.flush()
    loop, parent = asyncio.get_running_loop(), os.getppid()

    def stop() -> None:
        logging.disable()  # calls of drivers that were killed are cut off now, which says nothing
        server.stop()

    loop.add_signal_handler(signal.SIGTERM, stop)

    async def watch() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(1)
        stop()

    watching = asyncio.create_task(watch())
    await server.run()
    watching.cancel()


if __name__ == "__main__":
    asyncio.run(serve())
