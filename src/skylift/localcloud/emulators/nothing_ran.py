"""Adds to an emulator's answer that nothing really ran, in the field in which people look for a reason.

For many services the emulators keep only records: an EMR step is COMPLETED, a SageMaker training job Completed, one
second after its creation. The state stays, because clients wait for it. The reason next to it says that no work was
done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.wire.asgi import Message, Send

NOTHING_RAN = (
    "Nothing was run: skylift's local cloud keeps only the record of this, and its result is made up "
    "(docs/services.md)."
)

Ran = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class UnrunClaim:
    """A state in an answer that claims that work was done, or that something exists.

    Attributes:
        state: dotted path to the state, within any object of the answer.
        reason: dotted path to the reason, within the same object. A missing one is added; one with a text is kept.
        states: the states that make the claim; empty: all.
        replaces: whether the emulator's own text is made up as well, and is replaced.
    """

    state: str
    reason: str
    states: frozenset[str] = frozenset()
    replaces: bool = False


def _claims(reason: str, *states: str) -> tuple[UnrunClaim, ...]:
    return tuple(UnrunClaim(state, reason) for state in states)


TRAINING = frozenset({"Starting", "Downloading", "Training", "Uploading", "Completed"})
"""States of a training job's SecondaryStatusTransitions, whose messages Airflow's operator prints."""

CLAIMS: Mapping[str, tuple[UnrunClaim, ...]] = {
    "glue": (
        UnrunClaim("JobRunState", "StateDetail", frozenset({"SUCCEEDED"})),
        UnrunClaim("LastCrawl.Status", "LastCrawl.ErrorMessage", frozenset({"SUCCEEDED"})),
    ),
    "athena": (UnrunClaim("Status.State", "Status.StateChangeReason", frozenset({"SUCCEEDED"})),),
    "elasticmapreduce": _claims("Status.StateChangeReason.Message", "Status.State"),
    "emr-serverless": _claims("stateDetails", "state"),
    "emr-containers": _claims("stateDetails", "state"),
    "sagemaker": (
        UnrunClaim("ProcessingJobStatus", "ExitMessage"),
        UnrunClaim("SecondaryStatus", "FailureReason"),
        UnrunClaim("Status", "StatusMessage", TRAINING, replaces=True),
        *_claims(
            "FailureReason",
            *("TrainingJobStatus", "TransformJobStatus", "HyperParameterTuningJobStatus", "AutoMLJobStatus"),
            *("CompilationJobStatus", "PipelineExecutionStatus", "EndpointStatus", "NotebookInstanceStatus"),
        ),
    ),
    "redshift-data": (UnrunClaim("Status", "Error", frozenset({"STARTED", "FINISHED"})),),
    "datasync": (UnrunClaim("Status", "Result.ErrorDetail", frozenset({"TRANSFERRING", "VERIFYING", "SUCCESS"})),),
    "dms": (UnrunClaim("Status", "StopReason", frozenset({"running", "stopped"})),),
    "comprehend": (
        UnrunClaim("JobStatus", "Message"),
        UnrunClaim("Status", "Message", frozenset({"TRAINED", "IN_SERVICE"})),
    ),
    "synthetics": _claims("Status.StateReason", "Status.State"),
}
"""By the name in the signature. Services not in this table have no such field, or really run the work."""


def telling(service: str, send: Send, ran: Ran) -> Send:
    """``send``, but with the reasons added to a JSON answer of this service.

    Args:
        ran: whether an object of the answer belongs to something that really ran.
    """
    claims = CLAIMS.get(service)
    return _Telling(claims, send, ran) if claims else send


def glue_ran(glue: Any, job_name: str) -> bool:
    """Whether ministack's Glue (its module, in scope) really runs this job: a Python shell script that exists."""
    job = glue._jobs.get(job_name) or {}
    script = glue._resolve_script(job.get("Command", {}).get("ScriptLocation", "")) if job else None
    return bool(script) and str(script).endswith(".py") and not glue._is_spark_job(job)


class _Telling:
    """Holds an answer back until it is complete and can be read."""

    def __init__(self, claims: tuple[UnrunClaim, ...], send: Send, ran: Ran) -> None:
        self._claims = claims
        self._send = send
        self._ran = ran
        self._start: Message = {}
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = self._told(bytes(self._body)) if self._start["status"] < 300 else bytes(self._body)
        headers = [pair for pair in self._start["headers"] if pair[0].lower() != b"content-length"]
        await self._send({**self._start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self._send({"type": "http.response.body", "body": body})

    def _told(self, body: bytes) -> bytes:
        try:
            answer = json.loads(body)
        except ValueError:
            return body
        _tell(answer, self._claims, self._ran)
        return json.dumps(answer).encode()


def _tell(value: Any, claims: tuple[UnrunClaim, ...], ran: Ran) -> None:
    if isinstance(value, list):
        for one in value:
            _tell(one, claims, ran)
    if not isinstance(value, dict):
        return
    for one in list(value.values()):
        _tell(one, claims, ran)
    for claim in claims:
        state = _at(value, claim.state)
        if isinstance(state, str) and (not claim.states or state in claim.states) and not ran(value):
            _put(value, claim)


def _at(value: Mapping[str, Any], path: str) -> Any:
    found: Any = value
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _put(value: dict[str, Any], claim: UnrunClaim) -> None:
    *folders, name = claim.reason.split(".")
    for folder in folders:
        if not isinstance(value.get(folder), dict):
            value[folder] = {}
        value = value[folder]
    if claim.replaces or not value.get(name):
        value[name] = NOTHING_RAN
