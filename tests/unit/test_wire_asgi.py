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
    Message,
    Receive,
    SpooledBody,
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
