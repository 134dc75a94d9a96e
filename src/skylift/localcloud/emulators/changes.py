"""Decides, from a request and its answer, which services' state has changed and must be saved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_READS = (
    "BatchGet",
    "Decrypt",
    "Describe",
    "Encrypt",
    "Estimate",
    "Filter",
    "Get",
    "Head",
    "List",
    "Lookup",
    "Query",
    "Scan",
    "Search",
    "Select",
    "Simulate",
    "Test",
    "Validate",
)
_READS_BY_NAME = frozenset({"Verify", "VerifyMac"})
"""Of KMS; what else is verified is remembered (SES)."""
_ISSUE_SESSIONS = frozenset(
    {
        "GetSessionToken",
        "GetFederationToken",
        "GetCredentialsForIdentity",
        "GetId",
        "GetOpenIdToken",
        "GetOpenIdTokenForDeveloperIdentity",
    }
)
_EMPTY_RECEIVE_BYTES = 400
_FORM_ACTION = re.compile(rb"(?:^|&)Action=([A-Za-z0-9]+)")

SPREADS: Mapping[str, tuple[str, ...]] = {
    "s3": ("sqs", "sns"),
    "sns": ("sqs",),
    "eventbridge": ("sqs",),
    "cognito": ("sts",),
    "lambda": ("sqs",),
    "rds": ("secretsmanager",),
    "cloudformation": ("*",),
    "cloudcontrol": ("*",),
    "stepfunctions": ("*",),
    "ec2": ("iam",),
    "tagging": ("*",),
    "servicediscovery": ("route53",),
}
"""Which other services' state an operation changes; ``*`` stands for every service in memory."""


_MAY_BE_LOST = frozenset({"ReceiveMessage", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch"})
"""Operations that may be lost: a queue may deliver a message twice anyway, so no client notices."""


_WRITTEN_ELSEWHERE = frozenset({"PutMetricData"})
"""Metrics are on the disk already (``metric_store``). The state of alarms is saved soon after."""


def promised(module: str, action: str, changed: Sequence[str]) -> list[str]:
    """Which of the changed services must be on the disk before the answer. S3's objects are files already; the services
    that S3 notifies may be saved later."""
    if action in _MAY_BE_LOST or action in _WRITTEN_ELSEWHERE:
        return []
    return [key for key in changed if key == "s3" or module != "s3"]


def is_read(action: str, method: str) -> bool:
    """Whether a request changes nothing; ``action`` as of ``action_of``."""
    if action:
        return action in _READS_BY_NAME or (action.startswith(_READS) and action not in _ISSUE_SESSIONS)
    return method in {"GET", "HEAD", "OPTIONS"}


def action_of(path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, list[str]]) -> str:
    """The operation's name; empty when only method and path show the operation (S3, Lambda, ...)."""
    target = headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    if "/operation/" in path:
        return path.rpartition("/")[2]
    if "Action" in query:
        return query["Action"][0]
    match = _FORM_ACTION.search(body[:4096])
    return match[1].decode() if match else ""


def touched(module: str, method: str, path: str, action: str, answer_bytes: int) -> tuple[str, ...]:
    """Modules whose state a successful request has changed.

    Args:
        module: ministack's module that served it.
        method: of HTTP.
        path: of the request; S3's object operations leave only files behind, so they change no state of S3.
        action: see ``action_of``.
        answer_bytes: length of the answer: an empty ReceiveMessage changes nothing.
    """
    if is_read(action, method) or (action == "ReceiveMessage" and answer_bytes < _EMPTY_RECEIVE_BYTES):
        return ()
    spread = SPREADS.get(module, ())
    if module == "s3" and path.strip("/").count("/"):
        return spread
    return (module, *spread)
