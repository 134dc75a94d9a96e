"""The rest of the bench's AWS: an SQS queue that state change events come into, and S3 objects for workloads."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from bench import aws_limits_batch, aws_limits_ecs
from bench.aws_limits_account import Account, Container

from skylift.wire.asgi import Answer, Asgi, Receive, Scope, Send, head_of, read_body, send_answer
from skylift.wire.provider import Caller

QUEUE = "bench-events"
MOST_OBJECT = 64 * 1024 * 1024

Asked = dict[str, Any]


class Sqs:
    """SQS as far as a reader of events needs it: one queue for each account, delivered once, deleted or not."""

    service = "sqs"
    blocking = False

    def __init__(self, account_of: Callable[[str], Account]) -> None:
        self._account_of = account_of
        self._mailboxes: dict[str, Mailbox] = {}

    def get_queue_url(self, _caller: Caller, _request: Asked) -> Asked:
        return {"QueueUrl": f"http://sqs/{aws_limits_ecs.ACCOUNT_ID}/{QUEUE}"}

    def get_queue_attributes(self, _caller: Caller, _request: Asked) -> Asked:
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}

    async def receive_message(self, caller: Caller, request: Asked) -> Asked:
        mailbox = self._mailbox(caller.access_key)
        found = await mailbox.take(request.get("MaxNumberOfMessages", 1), request.get("WaitTimeSeconds", 0))
        return {"Messages": found} if found else {}

    def delete_message(self, _caller: Caller, _request: Asked) -> Asked:
        return {}

    def delete_message_batch(self, _caller: Caller, request: Asked) -> Asked:
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}

    def change_message_visibility(self, _caller: Caller, _request: Asked) -> Asked:
        return {}

    def _mailbox(self, key: str) -> Mailbox:
        if key not in self._mailboxes:
            self._mailboxes[key] = Mailbox(self._account_of(key))
        return self._mailboxes[key]


class Mailbox:
    """The queue of one account: made when somebody first reads it; from then on every change is an event."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._messages: deque[dict[str, str]] = deque()
        self._news = asyncio.Event()
        account.changed = self._changed

    async def take(self, most: int, seconds: float) -> list[dict[str, str]]:
        """Up to ``most`` messages; waits for the first of them."""
        if not self._messages and seconds:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), seconds)
            except TimeoutError:
                return []
        return [self._messages.popleft() for _ in range(min(most, len(self._messages)))]

    def _changed(self, one: Container) -> None:
        """Tells of its state now, and looks again when it will have changed by itself."""
        now = self._account.clock()
        self._tell(one, now)
        for at in (one.created + one.plan.waiting / 2, one.starts, one.stops):
            if now < at < float("inf"):
                asyncio.get_running_loop().call_later(at - now + 0.001, self._changed_by_itself, one)

    def _changed_by_itself(self, one: Container) -> None:
        self._tell(one, self._account.clock())

    def _tell(self, one: Container, now: float) -> None:
        if "children" in one.extra:
            return
        batch = one.ref.count("-") == 4
        shown = (aws_limits_batch if batch else aws_limits_ecs).document(one, now)
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Batch Job State Change" if batch else "ECS Task State Change",
            "source": "aws.batch" if batch else "aws.ecs",
            "account": aws_limits_ecs.ACCOUNT_ID,
            "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": aws_limits_ecs.REGION,
            "resources": [aws_limits_batch.arn_of(one.ref) if batch else one.ref],
            "detail": shown,
        }
        body = json.dumps(event, default=lambda value: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        self._messages.append({"MessageId": event["id"], "ReceiptHandle": event["id"], "Body": body})
        self._news.set()


def s3(account_of: Callable[[str], Account]) -> Asgi:
    """The fallback of the wire: PUT, GET, HEAD and DELETE of objects, path style. A signature's scope has named the account."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        head = head_of(scope)
        caller: Caller = scope["skylift.caller"]
        objects = account_of(caller.access_key).objects
        key = unquote(head.path).lstrip("/")
        if head.method == "PUT":
            objects[key] = unchunked(await read_body(receive, MOST_OBJECT), head.headers)
            return await send_answer(send, Answer(200, {"etag": '"0"'}, b""))
        if head.method == "DELETE":
            objects.pop(key, None)
            return await send_answer(send, Answer(204, {}, b""))
        if key not in objects:
            body = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
            return await send_answer(send, Answer(404, {"content-type": "application/xml"}, body))
        await send_answer(send, Answer(200, {"etag": '"0"'}, objects[key] if head.method == "GET" else b""))

    return serve


def unchunked(body: bytes, headers: Any) -> bytes:
    """The body without the frames of ``aws-chunked``, which boto3 uses for checksums at the end."""
    if "aws-chunked" not in headers.get("content-encoding", ""):
        return body
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0] or b"0", 16)
        if length == 0:
            break
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole
