"""Refuses requests that an emulator would accept although they cannot work here, and says what to do instead.

The emulators do not know skylift's ECS and Batch: a state machine that runs an ECS task would get a canned one. They
also take targets to which they never deliver. And each has other words and codes for an operation that it does not
have, which ``HeldAnswer`` recognises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from skylift.wire.asgi import Message, Send
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

OURS = "ecs|batch|elasticloadbalancing(?:v2)?|mwaa|airflow"
"""Services of skylift, as named in the ARN of an integration or a target."""

_TARGET = re.compile(rb'"(?:Arn|Target)"\s*:\s*"arn:aws[\w-]*:(?:ecs|batch):')
_DELIVERED = "lambda|sqs|sns|states|events|ecs|iam"


def _no_target(delivered: str) -> re.Pattern[bytes]:
    """A target of another service than these."""
    return re.compile(rf'"Arn"\s*:\s*"arn:aws[\w-]*:(?!(?:{delivered}):)[a-z][\w-]*:'.encode())


_NO_TARGET = _no_target(f"{_DELIVERED}|batch|logs")
"""What no rule here delivers to."""
_NO_TARGET_OF_SCHEDULES = _no_target(f"{_DELIVERED}|scheduler:::aws-sdk:(?:ecs|batch)")
"""Schedules have no target for Batch jobs and log groups on AWS, either: only universal ones, which start with
``arn:aws:scheduler:::aws-sdk:``."""
_INTEGRATION = re.compile(rf"arn:aws[\w-]*:states:::(?:aws-sdk:)?(?:{OURS}):".encode())


_ERRORS = frozenset({400, 404})
_UNKNOWN = re.compile(
    rb"(?:Unknown|Unsupported) (?:\w+ ){0,3}(?:action|operation|path|endpoint): |No route for [A-Z]+ /"
    rb"|Not yet implemented|Operation '\w+' not implemented"
)


@dataclass(frozen=True)
class RefusalRule:
    """Operations that are refused with this message when the request contains a pattern."""

    operations: frozenset[str]
    pattern: re.Pattern[bytes]
    words: str


_BY_SERVICE: Mapping[str, tuple[RefusalRule, ...]] = {
    "states": (
        RefusalRule(
            frozenset({"CreateStateMachine", "UpdateStateMachine"}),
            _INTEGRATION,
            "a state machine here cannot call ECS, Batch, Elastic Load Balancing or MWAA. Call them from an Airflow "
            "task "
            "(EcsRunTaskOperator, BatchOperator), or with boto3 from the program that starts the execution.",
        ),
    ),
    "events": (
        RefusalRule(
            frozenset({"PutTargets"}),
            _NO_TARGET,
            "a rule here can start Lambda functions, state machines, ECS tasks and Batch jobs, and deliver to SQS, "
            "SNS, log groups, other buses and API destinations. Make one of them the target.",
        ),
    ),
    "scheduler": (
        RefusalRule(
            frozenset({"CreateSchedule", "UpdateSchedule"}),
            _NO_TARGET_OF_SCHEDULES,
            "a schedule here can start Lambda functions, state machines and ECS tasks, and deliver to SQS, SNS and "
            "buses; universal targets (aws-sdk) call ECS and Batch. Make one of them the target.",
        ),
    ),
    "pipes": (
        RefusalRule(
            frozenset({"CreatePipe", "UpdatePipe"}),
            _TARGET,
            "a pipe here cannot start ECS tasks or Batch jobs. Read its source from an Airflow DAG instead.",
        ),
    ),
}

LOOKED_INTO = frozenset(_BY_SERVICE)
"""Services whose requests must be checked for this."""

_REST = (
    ("scheduler", re.compile(r"/schedules/[^/]+"), {"POST": "CreateSchedule", "PUT": "UpdateSchedule"}),
    ("pipes", re.compile(r"/v1/pipes/[^/]+"), {"POST": "CreatePipe", "PUT": "UpdatePipe"}),
)


def not_here(service: str, operation: str, body: bytes) -> str:
    """Why a request cannot work here, and what to do instead; empty if it can.

    Args:
        service: the name in the signature.
        operation: AWS's name of it.
    """
    for rule in _BY_SERVICE.get(service, ()):
        if operation in rule.operations and rule.pattern.search(body):
            return f"skylift's local cloud: {rule.words}"
    return ""


def refuse_other_account(form: bytes, caller: Caller) -> None:
    """Raises ``AwsError`` when a request to STS assumes a role of another account: there is only one here, and keys for
    another would see nothing of it, or everything."""
    fields = dict(parse_qsl(form.decode("latin-1")))
    action, role = fields.get("Action", ""), fields.get("RoleArn", "")
    account = role.split(":")[4] if role.count(":") >= 5 else caller.account
    if action.startswith("AssumeRole") and account != caller.account:
        text = f"User: {caller.principal} is not authorized to perform: sts:{action} on resource: {role}"
        advice = f"skylift's local cloud has one account: assume a role of {caller.account}"
        raise AwsError("AccessDenied", f"{text} ({advice})", 403)


def operation_of(service: str, method: str, path: str, target: str) -> str:
    """The operation of a request to one of ``LOOKED_INTO``.

    Args:
        target: the header ``X-Amz-Target``.
    """
    if target:
        return target.rpartition(".")[2]
    pairs = (methods for name, form, methods in _REST if name == service and form.fullmatch(path))
    return next(pairs, {}).get(method, "")


class HeldAnswer:
    """Sends an answer on, but for an error: that waits until ``release``, or is dropped."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []

    async def send(self, message: Message) -> None:
        """Replaces the application's ``send``."""
        starts = message["type"] == "http.response.start" and message["status"] in _ERRORS
        if starts or self._held:
            self._held.append(message)
        else:
            await self._send(message)

    @property
    def says_unknown(self) -> bool:
        """Whether it says that the emulator does not know the operation."""
        return _UNKNOWN.search(b"".join(one.get("body", b"") for one in self._held)) is not None

    async def release(self) -> None:
        """Sends what waits."""
        for message in self._held:
            await self._send(message)
