"""TLS of HTTPS and TLS listeners: their security policies, and which certificate a client is shown.

Sources: "Security policies for your Application Load Balancer" (user guide); API reference 2015-12-01, CreateListener.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from skylift.localcloud.certificates.authority import KeyPair, load
from skylift.localcloud.certificates.imports import names_of
from skylift.localcloud.elb.shapes import invalid, not_here
from skylift.wire.errors import AwsError

Request = dict[str, Any]

ENCRYPTED = ("HTTPS", "TLS")
"""Protocols of listeners that end TLS."""
MEMBERS = ("Certificates", "SslPolicy", "MutualAuthentication", "AlpnPolicy")
"""What only such listeners have."""
USUAL_POLICY = "ELBSecurityPolicy-2016-08"
MOST_CERTIFICATES = 25
"""Of a listener, without the default one (quota)."""
_NEWEST, _SINCE_12, _OLD = ("TLSv1.3",), ("TLSv1.3", "TLSv1.2"), ("TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1")
POLICIES: Mapping[str, Sequence[str]] = {
    USUAL_POLICY: _OLD[1:],
    "ELBSecurityPolicy-TLS13-1-3-2021-06": _NEWEST,
    "ELBSecurityPolicy-TLS13-1-2-2021-06": _SINCE_12,
    "ELBSecurityPolicy-TLS13-1-2-Res-2021-06": _SINCE_12,
    "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06": _SINCE_12,
    "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06": _SINCE_12,
    "ELBSecurityPolicy-TLS13-1-1-2021-06": _OLD[:3],
    "ELBSecurityPolicy-TLS13-1-0-2021-06": _OLD,
    "ELBSecurityPolicy-TLS-1-2-2017-01": ("TLSv1.2",),
    "ELBSecurityPolicy-TLS-1-2-Ext-2018-06": ("TLSv1.2",),
    "ELBSecurityPolicy-TLS-1-1-2017-01": _OLD[1:3],
    "ELBSecurityPolicy-FS-1-2-2019-08": ("TLSv1.2",),
    "ELBSecurityPolicy-FS-1-2-Res-2019-08": ("TLSv1.2",),
    "ELBSecurityPolicy-FS-1-2-Res-2020-10": ("TLSv1.2",),
    "ELBSecurityPolicy-FS-1-1-2019-08": _OLD[1:3],
    "ELBSecurityPolicy-FS-2018-06": _OLD[1:],
    "ELBSecurityPolicy-2015-05": _OLD[1:],
}
"""TLS versions by policy. TLS 1.0 and 1.1 are not served here whatever the policy says: OpenSSL 3 does not."""


class Certificates(Protocol):
    """Certificate Manager, as far as listeners need it."""

    def pair(self, arn: str) -> KeyPair | None:
        """A certificate with its key."""
        ...


def shown_tls(request: Request, certificates: Certificates) -> Request:
    """What a listener shows of its TLS; nothing if it ends none. Raises ``AwsError``: AWS, or the local cloud, does not
    accept it."""
    protocol = request["Protocol"]
    if protocol not in ENCRYPTED:
        if any(request.get(name) for name in MEMBERS):
            raise AwsError("InvalidConfigurationRequest", f"A listener with the protocol {protocol} has no certificate")
        return {}
    given = request.get("Certificates", [])
    if not given:
        raise invalid(f"A certificate must be specified for {protocol} listeners")
    if len(given) > 1:
        text = "A listener has one default certificate: add the others by AddListenerCertificates"
        raise AwsError("TooManyCertificates", text)
    arn = str(given[0].get("CertificateArn", ""))
    check_certificate(arn, certificates)
    policy = request.get("SslPolicy", USUAL_POLICY)
    if policy not in POLICIES:
        raise AwsError("SSLPolicyNotFound", f"SSL policy '{policy}' not found")
    if request.get("MutualAuthentication", {}).get("Mode", "off") != "off":
        raise not_here("Mutual authentication of a listener is not supported: set its Mode to off")
    if request.get("AlpnPolicy", ["None"]) != ["None"]:
        raise not_here("ALPN policies of a listener are not supported: use None")
    more = {"MutualAuthentication": {"Mode": "off"}} if protocol == "HTTPS" else {}
    return {"Certificates": [{"CertificateArn": arn}], "SslPolicy": policy, **more}


def check_certificate(arn: str, certificates: Certificates) -> None:
    """Raises ``AwsError`` (CertificateNotFound)."""
    if certificates.pair(arn) is None:
        raise AwsError("CertificateNotFound", f"Certificate '{arn}' not found")


def described_policy(name: str) -> Request:
    """A policy as DescribeSSLPolicies shows it, with the ciphers of this machine's OpenSSL."""
    ciphers = _context(name).get_ciphers()
    versions = POLICIES[name]
    found = [one["name"] for one in ciphers if "TLSv1.3" in versions or one["protocol"] != "TLSv1.3"]
    return {
        "Name": name,
        "SslProtocols": list(versions),
        "Ciphers": [{"Name": one, "Priority": place} for place, one in enumerate(found, 1)],
        "SupportedLoadBalancerTypes": ["application", "network"],
    }


class Termination:
    """The TLS of one listener.

    Attributes:
        context: of its socket; it asks at each handshake which certificate to show.
    """

    def __init__(self, policy: str) -> None:
        self.context = _context(policy)
        self.context.sni_callback = self._choose
        self._policy = policy
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._default = self.context

    def show(self, pairs: Sequence[KeyPair]) -> None:
        """Shows these from now on; the first is for clients that name no host, or one that no certificate has."""
        by_name: dict[str, ssl.SSLContext] = {}
        contexts = [_context(self._policy, pair) for pair in pairs]
        for pair, context in zip(pairs, contexts, strict=True):
            for name in names_of(pair.certificate):
                by_name.setdefault(name.lower(), context)
        self._by_name, self._default = by_name, contexts[0]

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, host: str | None, _context: ssl.SSLContext) -> None:
        name = (host or "").lower()
        wildcard = f"*.{name.partition('.')[2]}"
        connection.context = self._by_name.get(name) or self._by_name.get(wildcard) or self._default


def _context(policy: str, pair: KeyPair | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    versions = POLICIES[policy]
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if versions == _NEWEST else ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if "TLSv1.3" in versions else ssl.TLSVersion.TLSv1_2
    if pair is not None:
        load(context, pair)
    return context
