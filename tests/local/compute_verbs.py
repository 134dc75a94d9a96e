"""All verbs of a compute, on a local cloud: what a scheduler's executor calls."""

from __future__ import annotations

import json
import time
from typing import Any

from skylift.core.attempt import Attempt, Compute, Phase
from skylift.executors.in_container.warm import WarmCompute


def exercise(compute: Compute, s3: Any, *, arrays: bool) -> str:
    """All verbs, with containers in which nothing begins (their workload is none)."""
    attempts = [attempt(f"{number}", adopted=True) for number in range(3 if arrays else 1)]
    answers = compute.submit(attempts)
    while not all(answer.ref for answer in answers):
        # One that was adopted is looked for twice: lists may be late.
        assert all(answer.ref or "looking" in answer.later for answer in answers), answers
        answers = compute.submit(attempts)
    refs = [answer.ref for answer in answers]
    deadline = time.monotonic() + 60
    while not all(one.phase is Phase.STOPPED for one in compute.observe(refs)):
        assert time.monotonic() < deadline, compute.observe(refs)
        time.sleep(0.2)
    assert compute.find(attempts[0])
    compute.renew(attempts[0], refs[0])
    assert compute.explain(refs[0]), compute.observe(refs)
    if isinstance(compute, WarmCompute):
        # What a container leaves, when it has ended by itself.
        s3.put_object(Bucket="workloads", Key=f"here/warm/{attempts[0].token}/2", Body=b"closed")
        compute.listen(1)
    (late,) = compute.submit([attempt("9")])
    compute.stop(late.ref, "no more")
    return refs[0]


def attempt(name: str, *, adopted: bool = False) -> Attempt:
    labels = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": "-1", "try_number": "1"}
    external_id = f"{name * 8}-0000-4000-8000-000000000000"
    return Attempt(external_id, 1, lambda: json.dumps({"type": "Nothing"}), labels=labels, adopted=adopted)
