"""What Anyscale costs Airflow: the import at each parse of a DAG, and the triggerer's event loop while jobs are awaited.

python bench/anyscale.py [--other SITE]: SITE is a site-packages folder with astro-provider-anyscale, to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.watching import Pace, watch_job
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer
from skylift.wire.serve import HttpServer, listen, url_of

LATENCY = 0.2
RUNS = 7
IMPORT = """
import sys, time
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, BaseHook, BaseOperatorLink
begun = time.perf_counter()
{line}
print(time.perf_counter() - begun)
"""
OURS = "from skylift.anyscale import SubmitAnyscaleJob"
THEIRS = "from anyscale_provider.operators.anyscale import SubmitAnyscaleJob"


def imported(line: str, site: str = "") -> float:
    """Median of the seconds over airflow.sdk."""
    environ = {**os.environ, "PYTHONPATH": site, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", IMPORT.format(line=line)]
    found = [
        float(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()[-1])
        for _ in range(RUNS)
    ]
    return statistics.median(found)


def serve(ready: Any, asked: Any) -> None:
    """An Anyscale on which every job runs for ever, and every answer takes its time."""
    listening = listen()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        asked.value += 1
        await asyncio.sleep(LATENCY)
        body = json.dumps({"result": {"id": "j", "state": {"current_state": "RUNNING"}}}).encode()
        await send_answer(send, Answer(200, {"content-type": "application/json"}, body))

    ready.put(url_of(listening))
    asyncio.run(HttpServer(app, listening).run())


async def awaited(url: str, jobs: int, poll: float, seconds: float) -> float:
    """The longest time in which nothing else had a turn, after the first second (connections, imports)."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        begun = last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            if now - begun > 1:
                longest = max(longest, now - last - 0.005)
            last = now

    async def one(number: int) -> None:
        # A triggerer does not get all its triggers at one moment either.
        await asyncio.sleep(number * poll / jobs)
        async with AnyscaleClient(url, "aph0_x") as client:
            await watch_job(client, f"j{number}", Pace(poll, time.time() + seconds), lambda _: None, None)

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(one(number) for number in range(jobs)))
    ticking.cancel()
    return longest


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--other", default="")
    other = parser.parse_args().other
    print(f"load {os.getloadavg()[0]:.1f}; median of {RUNS}")
    print(f"import skylift.anyscale over airflow.sdk: {imported(OURS) * 1000:.0f} ms")
    if other:
        print(f"import anyscale_provider over airflow.sdk: {imported(THEIRS, other) * 1000:.0f} ms")
    ready, asked = multiprocessing.Queue(), multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(ready, asked), daemon=True)
    server.start()
    url = ready.get()
    for jobs, poll, seconds in ((1, 1.0, 10.0), (500, 10.0, 40.0)):
        asked.value = 0
        longest = asyncio.run(awaited(url, jobs, poll, seconds))
        each = f"{asked.value / jobs:.1f} requests each in {seconds:.0f} s"
        print(f"{jobs} jobs, one look each {poll:.0f} s: {each}, stall {longest * 1000:.0f} ms")
    server.terminate()


if __name__ == "__main__":
    main()
