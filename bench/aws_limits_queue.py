"""The rest of the bench's AWS: an SQS queue that state change events come into, and S3 objects for workloads."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from bench import aws_limits_batch, aws_limits_ecs
from bench.aws_limits_account import Account, Container

from skylift.wire.asgi import Answer, Asgi, Receive, Scope, Send, head_of, read_body, send_answer
from skylift.wire.provider import Caller

QUEUE = "bench-events"
MOST_OBJECT = 64 * 1024 * 1024

Asked = dict[str, Any]


class Sqs:
    """SQS as far as a reader of events needs it: one queue for each account, messages that hide and come again."""

    service = "sqs"
    blocking = False

    def __init__(self, account_of: Callable[[str], Account]) -> None:
        self._account_of = account_of
        self._mailboxes: dict[str, Mailbox] = {}

    def get_queue_url(self, _caller: Caller, request: Asked) -> Asked:
        return {"QueueUrl": f"http://sqs/{aws_limits_ecs.ACCOUNT_ID}/{request['QueueName']}"}

    async def receive_message(self, caller: Caller, request: Asked) -> Asked:
        mailbox = self._mailbox(caller.access_key)
        hidden = request.get("VisibilityTimeout", 30)
        found = await mailbox.take(request.get("MaxNumberOfMessages", 1), request.get("WaitTimeSeconds", 0), hidden)
        return {"Messages": [message.shown() for message in found]} if found else {}

    def delete_message(self, caller: Caller, request: Asked) -> Asked:
        self._mailbox(caller.access_key).delete(request["ReceiptHandle"])
        return {}

    def delete_message_batch(self, caller: Caller, request: Asked) -> Asked:
        for entry in request["Entries"]:
            self._mailbox(caller.access_key).delete(entry["ReceiptHandle"])
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}

    def change_message_visibility_batch(self, caller: Caller, request: Asked) -> Asked:
        for entry in request["Entries"]:
            self._mailbox(caller.access_key).give_back(entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0))
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}

    def _mailbox(self, key: str) -> Mailbox:
        if key not in self._mailboxes:
            self._mailboxes[key] = Mailbox(self._account_of(key))
        return self._mailboxes[key]


@dataclass(eq=False)
class Message:
    """One message; ``receipt`` stays the same, which SQS does not promise."""

    receipt: str
    body: str
    sent: float
    receives: int = 0

    def shown(self) -> dict[str, Any]:
        attributes = {"ApproximateReceiveCount": str(self.receives), "SentTimestamp": str(int(self.sent * 1000))}
        return {
            "MessageId": self.receipt,
            "ReceiptHandle": self.receipt,
            "Body": self.body,
            "Attributes": attributes,
        }


class Mailbox:
    """The queue of one account: made when somebody first reads it; from then on every change is an event."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._visible: deque[Message] = deque()
        self._hidden: dict[str, tuple[Message, asyncio.TimerHandle]] = {}
        self._news = asyncio.Event()
        account.changed = self._changed

    async def take(self, most: int, seconds: float, hidden: float) -> list[Message]:
        """Up to ``most`` messages, out of sight for a while; waits for the first of them."""
        if not self._visible and seconds:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), seconds)
            except TimeoutError:
                return []
        found = [self._visible.popleft() for _ in range(min(most, len(self._visible)))]
        for message in found:
            message.receives += 1
            self._hide(message, hidden)
        return found

    def delete(self, receipt: str) -> None:
        """It does not come again."""
        _, timer = self._hidden.pop(receipt, (None, None))
        if timer is not None:
            timer.cancel()

    def give_back(self, receipt: str, seconds: float) -> None:
        """It comes again after so many seconds."""
        message, timer = self._hidden.pop(receipt, (None, None))
        if message is not None and timer is not None:
            timer.cancel()
            self._hide(message, seconds)

    def _hide(self, message: Message, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._show, message)
        self._hidden[message.receipt] = message, timer

    def _show(self, message: Message) -> None:
        self._hidden.pop(message.receipt, None)
        self._visible.append(message)
        self._news.set()

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
        body = json.dumps(event_of(one, now), default=lambda value: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        self._show(Message(str(uuid.uuid4()), body, now))


def event_of(one: Container, now: float) -> dict[str, Any]:
    """EventBridge's event of its state now."""
    batch = one.ref.partition(":")[0].count("-") == 4
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Batch Job State Change" if batch else "ECS Task State Change",
        "source": "aws.batch" if batch else "aws.ecs",
        "account": aws_limits_ecs.ACCOUNT_ID,
        "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": aws_limits_ecs.REGION,
        "resources": [aws_limits_batch.arn_of(one.ref) if batch else one.ref],
        "detail": (aws_limits_batch if batch else aws_limits_ecs).document(one, now),
    }


def s3(account_of: Callable[[str], Account]) -> Asgi:
    """The fallback of the wire: PUT, GET, HEAD and DELETE of objects, path style. A signature's scope has named the
    account."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        head = head_of(scope)
        caller: Caller = scope["skylift.caller"]
        objects = account_of(caller.access_key).objects
        key = unquote(head.path).lstrip("/")
        if head.method == "PUT":
            objects[key] = unchunked(await read_body(receive, MOST_OBJECT), head.headers)
            return await send_answer(send, Answer(200, {"etag": '"0"'}, b""))
        if "list-type=2" in head.query:
            return await send_answer(send, _listing(objects, key, dict(parse_qsl(head.query)).get("prefix", "")))
        if head.method == "DELETE":
            objects.pop(key, None)
            return await send_answer(send, Answer(204, {}, b""))
        if key not in objects:
            body = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
            return await send_answer(send, Answer(404, {"content-type": "application/xml"}, body))
        found = Answer(200, {"etag": '"0"'}, objects[key] if head.method == "GET" else b"")
        return await send_answer(send, found)

    return serve


def _listing(objects: dict[str, bytes], bucket: str, prefix: str) -> Answer:
    start = f"{bucket.rstrip('/')}/"
    lines = "".join(
        f"<Contents><Key>{key.removeprefix(start)}</Key><ETag>0</ETag><Size>{len(body)}</Size></Contents>"
        for key, body in sorted(objects.items())
        if key.startswith(start + prefix)
    )
    text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{lines}</ListBucketResult>"
    return Answer(200, {"content-type": "application/xml"}, text.encode())


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
