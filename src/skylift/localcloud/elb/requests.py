"""The head of an HTTP request, as far as a listener's rules look at it, and as it is passed on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Target = tuple[str, int]
"""Address and port."""
_LINE = re.compile(r"([!-~]+) (\S+) (HTTP/1\.[01])")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOP = frozenset({"connection", "keep-alive", "proxy-connection"})
_FORWARDED = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"})


@dataclass(frozen=True)
class HttpRequest:
    """A request's head.

    Attributes:
        method: as sent.
        target: as sent: path and query.
        version: ``HTTP/1.1`` or ``HTTP/1.0``.
        headers: names and values as sent.
        source: the client's IP address.
        scheme: ``http`` or ``https``.
    """

    method: str
    target: str
    version: str
    headers: Sequence[tuple[str, str]]
    source: str
    scheme: str = "http"

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """As sent, without ``?``."""
        return self.target.partition("?")[2]

    @property
    def host(self) -> str:
        """The host, without its port; empty if none was sent."""
        host = next(iter(self.values("host")), "")
        return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]

    def values(self, name: str) -> list[str]:
        """The values of a header (lower case)."""
        return [value for one, value in self.headers if one.lower() == name]

    def passed_on(self, port: int) -> bytes:
        """The head for a target: it is to close the connection after its answer, so that the next request is routed
        anew; a connection that becomes something else (a WebSocket) stays.

        Args:
            port: of the listener.
        """
        upgrade = any("upgrade" in value.lower() for value in self.values("connection"))
        kept = [
            (name, value)
            for name, value in self.headers
            if name.lower() not in _FORWARDED and (upgrade or name.lower() not in _HOP)
        ]
        kept += [
            ("X-Forwarded-For", ", ".join([*self.values("x-forwarded-for"), self.source])),
            ("X-Forwarded-Proto", self.scheme),
            ("X-Forwarded-Port", str(port)),
        ]
        kept += [] if upgrade else [("Connection", "close")]
        lines = [f"{self.method} {self.target} {self.version}", *(f"{name}: {value}" for name, value in kept)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_head(head: bytes, source: str, scheme: str = "http") -> HttpRequest | None:
    """A request's head, up to and with its empty line; ``None``: it is not HTTP/1."""
    first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        return None
    headers = []
    for text in rest:
        name, colon, value = text.partition(":")
        if not colon or not _NAME.fullmatch(name):
            return None
        headers.append((name, value.strip()))
    target = line[2]
    if not target.startswith("/") and "://" in target:  # as to a proxy
        target = "/" + target.partition("://")[2].partition("/")[2]
    return HttpRequest(line[1], target, line[3], headers, source, scheme)
