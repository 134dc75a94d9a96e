"""Bodies and request targets without a server: what is handed over, and what never is."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from skylift.wire.asgi import (
    BodyMismatch,
    BodyTooLong,
    CheckedBody,
    ClientGone,
    DigestCheck,
    Head,
    Inbox,
    Message,
    Receive,
    SpooledBody,
    drain,
    head_of,
    origin_form,
    read_body,
)

pytestmark = pytest.mark.unit


def receiving(*chunks: bytes, gone: bool = False) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if not gone:
        messages[-1]["more_body"] = False
    messages.append({"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    return receive


TARGETS = {
    "plain": (b"/a%2Fb", b"/a%2Fb", "/a/b"),
    "absolute": (b"http://api.mwaa.test:5601/environments/x", b"/environments/x", "/environments/x"),
    "absolute with escapes": (b"http://h/tags/arn%3Aaws%2Fx", b"/tags/arn%3Aaws%2Fx", "/tags/arn:aws/x"),
    "absolute without a path": (b"http://h:1", b"/", "/"),
    "double slash": (b"//h/x", b"//h/x", "//h/x"),
}


@pytest.mark.parametrize(("raw", "expected", "path"), TARGETS.values(), ids=TARGETS)
def test_a_target_becomes_a_path(raw: bytes, expected: bytes, path: str) -> None:
    scope: dict[str, Any] = {"type": "http", "raw_path": raw, "path": path}
    formed = origin_form(scope)
    assert (formed["raw_path"], formed["path"]) == (expected, path)


def test_a_repeated_header_is_joined() -> None:
    headers = [(b"X-Amz-Meta-A", b"1"), (b"x-amz-meta-a", b"2"), (b"host", "ä".encode())]
    head = head_of({"method": "get", "raw_path": b"/", "query_string": b"a=b", "headers": headers})
    assert (head.method, head.query) == ("GET", "a=b")
    assert head.headers == {"x-amz-meta-a": "1,2", "host": "ä"}


def test_a_body_is_read_up_to_its_limit() -> None:
    assert asyncio.run(read_body(receiving(b"ab", b"", b"c"), 3)) == b"abc"
    with pytest.raises(BodyTooLong):
        asyncio.run(read_body(receiving(b"ab", b"cd"), 3))
    with pytest.raises(ClientGone):
        asyncio.run(read_body(receiving(b"ab", gone=True), 3))


@pytest.mark.parametrize("chunks", [[b""], [b"abc"], [b"ab", b"", b"c"], [b"x" * 5_000_000, b"y" * 5_000_000]])
def test_a_spooled_body_is_given_once_more(chunks: list[bytes]) -> None:
    async def go() -> tuple[bytes, str, str]:
        body, receive = SpooledBody(), receiving(*chunks)
        await body.fill(receive, 20_000_000)
        again = body.replay(receive)
        read = await read_body(again, 20_000_000)
        after = await again()
        digest = body.sha256
        body.close()
        return read, digest, after["type"]

    whole = b"".join(chunks)
    assert asyncio.run(go()) == (whole, hashlib.sha256(whole).hexdigest(), "http.disconnect")


@pytest.mark.parametrize("chunks", [[b"abd"], [b"ab", b"d"], [b"", b"abc", b"d"], [b""]])
def test_the_end_of_a_wrong_body_is_never_handed_over(chunks: list[bytes]) -> None:
    wrong = ValueError("wrong")

    async def go() -> tuple[bytes, Exception | None]:
        checked, seen = CheckedBody(receiving(*chunks), DigestCheck(hashlib.sha256(b"abc").hexdigest(), wrong)), b""
        for _ in range(len(chunks) - 1):
            seen += (await checked.receive())["body"]
        for _ in range(2):
            with pytest.raises(BodyMismatch):
                await checked.receive()
        return seen, checked.wrong

    assert asyncio.run(go()) == (b"".join(chunks[:-1]), wrong)


def test_a_right_body_passes() -> None:
    checked = CheckedBody(receiving(b"ab", b"c"), DigestCheck(hashlib.sha256(b"abc").hexdigest(), ValueError()))
    assert asyncio.run(read_body(checked.receive, 3)) == b"abc"
    assert checked.wrong is None


BIG = 1024 * 1024


@pytest.mark.parametrize(
    ("headers", "chunks", "usable"),
    [
        ({}, [b""], True),
        ({"content-length": "3"}, [b"a", b"bc"], True),
        ({"content-length": str(BIG)}, [b"x" * BIG], True),
        ({"content-length": str(BIG + 1)}, [b"x" * (BIG + 1)], False),
        ({"content-length": "3"}, [b"x" * (BIG + 1)], False),
        ({"content-length": "-1"}, [b""], False),
        ({"content-length": "\u0663"}, [b""], False),
        ({"content-length": "1" * 5000}, [b""], False),
        ({"content-length": "3", "transfer-encoding": "chunked"}, [b"abc"], False),
    ],
)
def test_a_connection_is_used_again_when_the_rest_of_a_request_is_short(
    headers: dict[str, str], chunks: list[bytes], usable: bool
) -> None:
    inbox = Inbox(receiving(*chunks))
    assert asyncio.run(drain(inbox, Head("PUT", "/", "", headers))) is usable
    if usable:
        assert inbox.ended
        assert asyncio.run(drain(inbox, Head("PUT", "/", "", headers))) is True, "there is nothing left to read"


def test_a_client_that_is_gone_leaves_no_connection() -> None:
    inbox = Inbox(receiving(b"a", gone=True))
    assert asyncio.run(drain(inbox, Head("PUT", "/", "", {"content-length": "3"}))) is False
