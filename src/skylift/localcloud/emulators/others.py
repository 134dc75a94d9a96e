"""AWS services from emulators inside this process, and skylift's CloudWatch Logs beside them, behind one adapter.

``table.TABLE`` says which emulator (``ministack`` or ``moto``) serves a service. The wire has checked signatures before
a request gets here; ``find`` gives it the keys that IAM and STS issued.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from skylift.core.errors import Refused
from skylift.localcloud.behind.forward import BehindUs
from skylift.localcloud.behind.setting import Behind
from skylift.localcloud.damage import Damage, Refusing
from skylift.localcloud.emulators.cloud_map.mended import SERVICE, cloud_map
from skylift.localcloud.emulators.cloud_map.registries import CloudMapRegistries
from skylift.localcloud.emulators.ec2.in_use import ASKED, InUse
from skylift.localcloud.emulators.edge import Edge
from skylift.localcloud.emulators.eventbridge.schedules import Schedules, cron_of
from skylift.localcloud.emulators.eventbridge.targets import TargetStarter
from skylift.localcloud.emulators.for_scaling import EmulatedScalingMetrics
from skylift.localcloud.emulators.iam.state import EmulatedIamState
from skylift.localcloud.emulators.log_bridge import LogDestinations, write_to_ours
from skylift.localcloud.emulators.ministack import Ministack, expect_success
from skylift.localcloud.emulators.moto import Moto
from skylift.localcloud.emulators.not_here import LOOKED_INTO, not_here, operation_of, refuse_other_account
from skylift.localcloud.emulators.nothing_ran import glue_ran, telling
from skylift.localcloud.emulators.table import Emulator, Scope, Served, scope_of, served
from skylift.localcloud.iam.state import IamState, RequestJudge
from skylift.localcloud.interfaces import Interfaces
from skylift.localcloud.logs.provider import ContainerLogs, LogsProvider
from skylift.localcloud.ports import Measured
from skylift.wire.app import MOST_BUFFERED_BYTES
from skylift.wire.asgi import Answer, Asgi, Message, Receive, Send, read_body, replayed, send_answer
from skylift.wire.provider import Caller, Provider
from skylift.wire.signing.keys import Key

ADMINISTRATION = ("/_ministack", "/_localstack", "/moto-api")
"""The emulators' own addresses (one deletes everything). AWS has none of them, so they are refused. No bucket can have
such a name."""

SIGNING_PARAMETERS = frozenset(
    f"X-Amz-{name}"
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")
)

SIGNING_PARAMETERS_2 = frozenset({"AWSAccessKeyId", "Signature", "Expires", "x-amz-security-token"})

ENDPOINT = "http://127.0.0.1:4747"


class RestOfAws:
    """The emulators, as one ASGI application and a few calls within the process.

    One at a time in a process: ministack keeps its state in globals.

    Attributes:
        container_logs: what writes containers' output.
        registries: Cloud Map, for the services of ECS.
        cron: understands cron expressions, once this has started.
        scaling_metrics: what scaling policies read.
        targets: starts what rules and schedules name.
    """

    def __init__(
        self,
        home: Path,
        account: str,
        region: str,
        endpoint: str = ENDPOINT,
        interfaces: Interfaces | None = None,
        others: Behind | None = None,
    ) -> None:
        """Imports and opens nothing; ``start`` does.

        Args:
            home: a folder used by nobody else; created with mode 0700.
            account: twelve digits.
            region: for in-process calls and unsigned requests.
            endpoint: the address that users see, for the URLs of queues.
            interfaces: network interfaces of the services that run things.
            others: the endpoint that serves what need not be served here.
        """
        self._account = account
        self._region = region
        self._ministack = Ministack(home, account, region, endpoint)
        self._moto = Moto(account)
        self._in_use = InUse(self._ministack, account, interfaces or Interfaces())
        self.registries = CloudMapRegistries(self._ministack)
        self._edge = Edge()
        self._behind = BehindUs(others) if others is not None else None
        deliver = LogDestinations(self._ministack).deliver
        self._logs = LogsProvider(home, account, region, time.time, emit=self._emit, deliver=deliver)
        self._refusing = Refusing(self._logs, None)
        self.container_logs = ContainerLogs(self._logs)
        self.cron = cron_of(self._ministack)
        self.scaling_metrics = EmulatedScalingMetrics(self._ministack)
        self.targets = TargetStarter(
            self._ministack, self.container_logs, Caller("", f"arn:aws:iam::{account}:root", account, region)
        )

    async def start(self) -> None:
        """Loads the saved state. Raises ``Refused`` if another one runs in this process."""
        await self._ministack.start()
        await self._logs.start()
        if self._logs.damage is not None:
            self._refusing.refuse_all(self._logs.damage)
        caller = Caller("", f"arn:aws:iam::{self._account}:root", self._account, self._region)
        write_to_ours(self._ministack, self.container_logs, self._refusing, caller)
        self.targets.install()
        Schedules(self._ministack).install()

    async def stop(self) -> None:
        """Saves everything. Raises ``OSError`` when something cannot be written (a full disk)."""
        self._moto.close()
        if self._behind is not None:
            self._behind.close()
        try:
            await self._ministack.stop()
        finally:
            await self._logs.stop()

    @property
    def providers(self) -> list[Provider]:
        """What the wire serves itself: CloudWatch Logs."""
        return [self._refusing]

    async def app(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI: one request to a service that skylift does not implement."""
        await self._serve(self._edge, scope, receive, send)

    def judged_by(self, judge: RequestJudge) -> Asgi:
        """The same application; ``judge`` is asked before each request."""
        return partial(self._serve, Edge(judge))

    @property
    def iam_state(self) -> IamState:
        """What IAM, STS and resource policies say here."""
        return EmulatedIamState(self._ministack)

    async def _serve(self, edge: Edge, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        wanted = scope_of(scope["headers"], scope.get("query_string", b""))
        row = served(wanted.service or "s3")
        if self._behind is not None and self._behind.behind.takes(wanted.service):
            inner = partial(self._behind.serve, wanted.service, wanted.region or self._region)
            row = Served(row.names if row else (wanted.service,), Emulator.OTHERS)
            await edge.serve(row, inner, _signed_by_header(scope, self._region), receive, send)
        elif row is None or row.server is Emulator.SKYLIFT or scope["path"].startswith(ADMINISTRATION):
            await _not_served(scope, wanted, send)
        elif row.server is Emulator.NOBODY:
            await _refuse(scope, wanted, f"skylift's local cloud does not serve {row.names[0]}. {row.note}", send)
        else:
            inner, scope = (
                partial(self._asked, wanted, row),
                _signed_by_header(_bucket_named_health(scope, wanted), self._region),
            )
            await edge.serve(row, inner, scope, receive, send)

    async def _asked(self, wanted: Scope, row: Served, scope: Message, receive: Receive, send: Send) -> None:
        if wanted.service == "sts" and "skylift.caller" in scope:
            await self._sts(scope, receive, send)
        elif wanted.service in LOOKED_INTO:
            await self._looked_into(wanted, row, scope, receive, send)
        elif wanted.service in ASKED:
            await self._guarded(wanted, row, scope, receive, send)
        else:
            await self._emulated(wanted, row, scope, receive, send)

    async def _looked_into(self, wanted: Scope, row: Served, scope: Message, receive: Receive, send: Send) -> None:
        """Serves a request that may ask for something that cannot work here."""
        body = await read_body(receive, MOST_BUFFERED_BYTES)
        target = next((value for name, value in scope["headers"] if name.lower() == b"x-amz-target"), b"")
        operation = operation_of(wanted.service, scope["method"], scope["path"], target.decode("latin-1"))
        words = not_here(wanted.service, operation, body)
        if words:
            await _refuse(scope, wanted, words, send)
        else:
            await self._emulated(wanted, row, scope, replayed(body, receive), send)

    async def _guarded(self, wanted: Scope, row: Served, scope: Message, receive: Receive, send: Send) -> None:
        """Serves a request that may delete what something uses."""
        body = await read_body(receive, MOST_BUFFERED_BYTES)
        answer = self._in_use.answer(wanted.service, wanted.region, body)
        if answer is not None:
            await send_answer(send, answer)
        else:
            await self._emulated(wanted, row, scope, replayed(body, receive), send)

    async def _emulated(self, wanted: Scope, row: Served, scope: Message, receive: Receive, send: Send) -> None:
        told = telling(row.names[0], send, partial(self._ran, wanted))
        if row.server is Emulator.MOTO:
            try:
                await self._moto.serve(row.host, wanted.region or self._region, scope, receive, told)
            except NotImplementedError as error:
                await _refuse(scope, wanted, f"{wanted.service}: {error} (by moto, which answers for it here).", send)
        else:
            if SERVICE in row.names:
                cloud_map(self._ministack)
            await self._ministack.app(scope, receive, told)

    def _ran(self, wanted: Scope, told: Mapping[str, Any]) -> bool:
        """Whether an emulator really did what an object of its answer claims."""
        if wanted.service == "glue":
            with self._ministack.scope(wanted.region):
                return glue_ran(self._ministack.service("glue"), str(told.get("JobName", "")))
        return wanted.service == "athena" and told.get("StatementType") == "DDL"

    async def _sts(self, scope: Message, receive: Receive, send: Send) -> None:
        """STS. GetCallerIdentity is an exception: only the wire knows the owner of keys that skylift itself issued."""
        body = await read_body(receive, MOST_BUFFERED_BYTES)
        caller: Caller = scope["skylift.caller"]
        refuse_other_account(body, caller)
        if b"Action=GetCallerIdentity" in body and not self._ministack.issued(caller.access_key):
            await send_answer(send, Answer(200, {"content-type": "text/xml"}, _identity(caller).encode()))
        else:
            await self._ministack.app(scope, replayed(body, receive), send)

    def served_by(self, service: str) -> str | None:
        """``ministack`` or ``moto``, by a service's signing name or boto3 name; ``None`` when nobody serves it."""
        row = served(service)
        return str(row.server) if row is not None and row.server is not Emulator.SKYLIFT else None

    def put_metrics(self, measured: Iterable[Measured]) -> None:
        """Stores values of AWS's own metrics, whose namespaces AWS reserves. Raises ``OSError`` when the disk is
        full."""
        self._ministack.put_metrics(measured)

    def _emit(self, measured: Sequence[Measured], times: int) -> None:
        self._ministack.put_metrics(measured, times)

    def secret_value(self, secret: str, json_key: str = "", version_stage: str = "", version_id: str = "") -> str:
        """A secret's text, or one value of a secret that is a JSON object, as ECS's ``secrets`` mean it.

        Args:
            secret: name or ARN (of our account; the region is the ARN's).
            json_key: which value; empty = the whole text.
            version_stage: default ``AWSCURRENT``.
            version_id: instead of a stage.

        Raises:
            Refused: no such secret, version or key. The text never holds the value.
        """
        request = {"SecretId": secret}
        if version_id:
            request["VersionId"] = version_id
        if version_stage:
            request["VersionStage"] = version_stage
        self._ministack.check("secretsmanager")
        with self._ministack.scope(_region_of(secret)):
            members = expect_success(self._ministack.service("secretsmanager")._get_secret_value(request))
        if "SecretString" not in members:
            raise Refused(f"{secret}: the secret is binary; a container can only be given text")
        text = str(members["SecretString"])
        return _value_of(secret, text, json_key) if json_key else text

    def parameter_value(self, parameter: str) -> str:
        """An SSM parameter's (decrypted) value, by name or ARN, as in ECS's ``secrets``. Raises ``Refused`` when it
        does not exist."""
        name = parameter.partition(":parameter")[2] if parameter.startswith("arn:") else parameter
        request = {"Name": name, "WithDecryption": True}
        self._ministack.check("ssm")
        with self._ministack.scope(_region_of(parameter)):
            answer = self._ministack.service("ssm")._get_parameter(request)
        return str(expect_success(answer)["Parameter"]["Value"])

    def object_content(self, bucket: str, key: str) -> bytes:
        """An object of S3. Raises ``Refused`` when it does not exist."""
        self._ministack.check("s3")
        with self._ministack.scope():
            status, _, content = self._ministack.service("s3")._dispatch("GET", bucket, key, {}, b"", {})
        if status >= 400:
            raise Refused("NotFound: Not Found" if status == 404 else f"S3Error: status {status}")
        return bytes(content)

    def has_event_rules(self) -> bool:
        """Whether an enabled rule of the default bus waits for events."""
        return self._ministack.has_event_rules()

    def put_event(self, event: Mapping[str, Any]) -> None:
        """Delivers an event, in EventBridge's shape (``time`` in seconds), to the targets of the default bus's
        rules."""
        self._ministack.put_event(event)

    async def events_kept(self) -> None:
        """Returns once the messages of delivered events are on the disk. Raises ``OSError`` or ``Damaged`` when they
        are not."""
        await self._ministack.saved("sqs")

    def damage(self) -> list[Damage]:
        """The saved state that cannot be read; it is refused, and not overwritten."""
        ours = [self._logs.damage] if self._logs.damage is not None else []
        return [*self._ministack.damage(), *ours]

    def find(self, access_key: str, session_token: str) -> Key | None:
        """Keyring of the keys that IAM (users' keys) and STS (AssumeRole and the like) issued here."""
        return self._ministack.find(access_key, session_token)


def _bucket_named_health(scope: Message, wanted: Scope) -> Message:
    """ministack answers ``/health`` with its own page. In a request to S3 (only signed ones get here) it is a bucket. A
    slash at the end makes it one for ministack, too."""
    if (wanted.service or "s3") != "s3" or scope["path"] != "/health":
        return scope
    return {**scope, "path": "/health/", "raw_path": b"/health/"}


def _signed_by_header(scope: Message, region: str) -> Message:
    """A presigned request, rewritten as if signed by header: the wire has checked it, and ministack's own check does
    not know the keys, or version 2 of signatures."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    asked = dict(pairs)
    credential, parameters = asked.get("X-Amz-Credential"), SIGNING_PARAMETERS
    if credential is None and asked.keys() >= {"AWSAccessKeyId", "Signature", "Expires"}:
        credential = f"{asked['AWSAccessKeyId']}/20000101/{region}/s3/aws4_request"
        parameters = SIGNING_PARAMETERS_2
    if credential is None:
        return scope
    query = urlencode([(name, value) for name, value in pairs if name not in parameters]).encode()
    header = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=checked"
    headers = [*scope["headers"], (b"authorization", header.encode("latin-1"))]
    return {**scope, "query_string": query, "headers": headers}


def _region_of(name: str) -> str:
    return name.split(":")[3] if name.startswith("arn:") and name.count(":") >= 5 else ""


def _value_of(secret: str, text: str, key: str) -> str:
    try:
        members = json.loads(text)
    except json.JSONDecodeError:
        members = None
    if not isinstance(members, dict):
        raise Refused(f"{secret}: the secret is not a JSON object, so it has no key {key!r}")
    if key not in members:
        raise Refused(f"{secret}: the secret has no key {key!r}")
    value = members[key]
    return value if isinstance(value, str) else json.dumps(value)


def _identity(caller: Caller) -> str:
    unique = f"{caller.access_key}:{caller.principal.rpartition('/')[2]}"
    return (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>{escape(caller.principal)}</Arn><UserId>{escape(unique)}</UserId><Account>{caller.account}</Account>"
        f"</GetCallerIdentityResult><ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


async def _not_served(scope: Message, wanted: Scope, send: Send) -> None:
    own = scope["path"].startswith(ADMINISTRATION)
    message = (
        f"skylift's local cloud does not serve {scope['path'] if own else wanted.service!r}. "
        "docs/services.md lists what it serves; point this one client elsewhere, e.g. with AWS_ENDPOINT_URL_<SERVICE>."
    )
    await _refuse(scope, wanted, message, send)


async def _refuse(scope: Message, wanted: Scope, message: str, send: Send) -> None:
    """An error in the service's protocol, with status 501, which no SDK retries."""
    asked = {name.lower(): value for name, value in scope["headers"]}
    fault = f"<Code>NotImplemented</Code><Message>{escape(message)}</Message>"
    if wanted.service in {"", "s3"}:
        text, kind = f"<Error>{fault}</Error>", "application/xml"
    elif asked.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
        text, kind = f"<ErrorResponse><Error><Type>Sender</Type>{fault}</Error></ErrorResponse>", "text/xml"
    else:
        text, kind = json.dumps({"__type": "NotImplemented", "message": message}), "application/x-amz-json-1.1"
    headers = {"content-type": kind, "x-amzn-errortype": "NotImplemented"}
    await send_answer(send, Answer(501, headers, text.encode()))
