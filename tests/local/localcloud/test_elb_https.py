"""HTTPS and TLS listeners: certificates of Certificate Manager, shown to real TLS clients."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from tests.local.elb_cloud import Cloud, balancing, free_port, make, received_head, refused, target, until

from skylift.localcloud.certificates.authority import Authority, KeyPair

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with balancing(tmp_path_factory.mktemp("https")) as made:
        yield made


def requested(cloud: Cloud, name: str, *others: str, **more: Any) -> str:
    named = {"SubjectAlternativeNames": [*others]} if others else {}
    return str(cloud.acm.request_certificate(DomainName=name, **named, **more)["CertificateArn"])


def imported(cloud: Cloud, pair: KeyPair, **more: Any) -> str:
    return str(
        cloud.acm.import_certificate(
            Certificate=pair.certificate, PrivateKey=pair.key, CertificateChain=pair.chain, **more
        )["CertificateArn"]
    )


def trusting(*authorities: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authorities[0]))
    for one in authorities[1:]:
        context.load_verify_locations(one)
    return context


def ask(place: tuple[str, int], host: str, context: ssl.SSLContext, path: str = "/") -> tuple[int, str, Any, str]:
    """Status, body, headers, and the serial number of the certificate that was shown to this host."""
    with socket.create_connection(place, 20) as plain, context.wrap_socket(plain, server_hostname=host) as encrypted:
        encrypted.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(encrypted)
        answer.begin()
        body = answer.read().decode()
        shown = encrypted.getpeercert()
    return answer.status, body, answer.headers, str((shown or {})["serialNumber"])


def serial(cloud: Cloud, arn: str) -> str:
    pem = cloud.acm.get_certificate(CertificateArn=arn)["Certificate"]
    found = f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:X}"
    return found.zfill(len(found) + len(found) % 2)


def tells_its_head(connection: socket.socket) -> None:
    """Answers with the head of the request."""
    received = received_head(connection)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(received)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + received)


@pytest.fixture(scope="module")
def behind(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """A load balancer's address and a target group with a target."""
    with target(tells_its_head) as place:
        address, group, _ = make(cloud, "secure", free_port())
        cloud.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": place[0], "Port": place[1]}])
        yield address, group


def balancer_of(cloud: Cloud, group: str) -> str:
    return str(cloud.elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["LoadBalancerArns"][0])


def https(cloud: Cloud, group: str, port: int, certificate: str, **more: Any) -> str:
    made = cloud.elb.create_listener(
        LoadBalancerArn=balancer_of(cloud, group),
        Protocol="HTTPS",
        Port=port,
        Certificates=[{"CertificateArn": certificate}],
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        **more,
    )["Listeners"][0]
    assert made["Certificates"] == [{"CertificateArn": certificate}]
    return str(made["ListenerArn"])


def test_a_requested_certificate_is_shown_and_trusted(cloud: Cloud, behind: tuple[str, str]) -> None:
    address, group = behind
    arn = requested(cloud, "app.example.org", "*.example.org", ValidationMethod="DNS")
    described = cloud.acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert described["Status"] == "ISSUED"
    assert described["KeyAlgorithm"] == "RSA_2048"
    assert described["SubjectAlternativeNames"] == ["app.example.org", "*.example.org"]
    record = described["DomainValidationOptions"][0]["ResourceRecord"]
    assert record["Type"] == "CNAME"
    assert re.fullmatch(r"_[0-9a-f]{32}\.app\.example\.org\.", record["Name"])
    port = free_port(address)
    listener = https(cloud, group, port, arn)
    context = trusting(cloud.authority.certificate_file)
    until(lambda: ask((address, port), "app.example.org", context)[0] == 200)
    _, head, _, shown = ask((address, port), "other.example.org", context, "/path?q=1")
    assert shown == serial(cloud, arn)
    assert head.startswith("GET /path?q=1 HTTP/1.1\r\n")
    assert "\r\nX-Forwarded-Proto: https\r\n" in head
    assert f"\r\nX-Forwarded-Port: {port}\r\n" in head
    with pytest.raises(ssl.SSLCertVerificationError):
        ask((address, port), "app.example.org", ssl.create_default_context())
    assert cloud.acm.describe_certificate(CertificateArn=arn)["Certificate"]["InUseBy"] == [balancer_of(cloud, group)]
    assert refused(cloud.acm.delete_certificate, CertificateArn=arn) == "ResourceInUseException"
    cloud.elb.delete_listener(ListenerArn=listener)
    cloud.acm.delete_certificate(CertificateArn=arn)
    assert refused(cloud.acm.describe_certificate, CertificateArn=arn) == "ResourceNotFoundException"


def test_each_host_sees_its_own_certificate_and_a_new_one_at_once(
    cloud: Cloud, behind: tuple[str, str], tmp_path: Path
) -> None:
    address, group = behind
    theirs = Authority(tmp_path / "theirs", time.time)
    first, wild = (
        requested(cloud, "a.example.com"),
        requested(cloud, "*.wild.example.com", KeyAlgorithm="EC_prime256v1"),
    )
    brought = imported(cloud, theirs.issue(["b.example.com"]))
    port = free_port(address)
    listener = https(cloud, group, port, first)
    added = [{"CertificateArn": wild}, {"CertificateArn": brought}]
    cloud.elb.add_listener_certificates(ListenerArn=listener, Certificates=added)
    context = trusting(cloud.authority.certificate_file, theirs.certificate_file)

    def shown(host: str) -> str:
        return ask((address, port), host, context)[3]

    assert [shown("a.example.com"), shown("x.wild.example.com"), shown("b.example.com")] == [
        serial(cloud, one) for one in (first, wild, brought)
    ]
    listed = cloud.elb.describe_listener_certificates(ListenerArn=listener)["Certificates"]
    assert [(one["CertificateArn"], one["IsDefault"]) for one in listed] == [
        (first, True),
        (wild, False),
        (brought, False),
    ]
    before = serial(cloud, brought)
    assert imported(cloud, theirs.issue(["b.example.com"]), CertificateArn=brought) == brought
    assert shown("b.example.com") == serial(cloud, brought) != before
    cloud.elb.remove_listener_certificates(ListenerArn=listener, Certificates=[{"CertificateArn": brought}])
    with pytest.raises(ssl.SSLCertVerificationError):  # the default one, which is for another name
        shown("b.example.com")
    cloud.elb.modify_listener(ListenerArn=listener, Certificates=[{"CertificateArn": brought}])
    assert shown("b.example.com") == serial(cloud, brought)
    default = [{"CertificateArn": brought}]
    assert refused(cloud.elb.remove_listener_certificates, ListenerArn=listener, Certificates=default) == (
        "OperationNotPermitted"
    )
    cloud.elb.delete_listener(ListenerArn=listener)


def test_a_listener_changes_between_http_and_https_on_its_port(cloud: Cloud, behind: tuple[str, str]) -> None:
    address, group = behind
    arn = requested(cloud, "both.example.org")
    port = free_port(address)
    listener = https(cloud, group, port, arn)
    context = trusting(cloud.authority.certificate_file)
    redirect = {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", "Host": "new.example.org"}}
    cloud.elb.modify_listener(ListenerArn=listener, DefaultActions=[redirect])
    status, _, headers, _ = ask((address, port), "both.example.org", context, "/x")
    assert (status, headers["Location"]) == (301, f"https://new.example.org:{port}/x")
    cloud.elb.modify_listener(ListenerArn=listener, Protocol="HTTP")
    shown = cloud.elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]
    assert {"Certificates", "SslPolicy"} & shown.keys() == set()
    plain = http.client.HTTPConnection(address, port, timeout=20)
    plain.request("GET", "/x")
    assert plain.getresponse().headers["Location"] == f"http://new.example.org:{port}/x"
    plain.close()
    newest = "ELBSecurityPolicy-TLS13-1-3-2021-06"
    cloud.elb.modify_listener(
        ListenerArn=listener, Protocol="HTTPS", SslPolicy=newest, Certificates=[{"CertificateArn": arn}]
    )
    assert ask((address, port), "both.example.org", context)[0] == 301
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        ask((address, port), "both.example.org", context)
    cloud.elb.delete_listener(ListenerArn=listener)


def test_a_network_load_balancer_ends_tls_for_any_protocol(cloud: Cloud) -> None:
    def echoes(connection: socket.socket) -> None:
        while chunk := connection.recv(65536):
            connection.sendall(chunk)
        connection.sendall(b" and goodbye")

    arn = requested(cloud, "net.example.org")
    with target(echoes) as place:
        address, group, _ = make(cloud, "encrypted-net", free_port(), "network")
        cloud.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": place[0], "Port": place[1]}])
        port = free_port(address)
        cloud.elb.create_listener(
            LoadBalancerArn=balancer_of(cloud, group),
            Protocol="TLS",
            Port=port,
            Certificates=[{"CertificateArn": arn}],
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )
        context = trusting(cloud.authority.certificate_file)
        sent = b"x" * 3_000_000

        def answered() -> bytes:
            found = b""
            with (
                contextlib.suppress(OSError),
                socket.create_connection((address, port), 20) as plain,
                context.wrap_socket(plain, server_hostname="net.example.org") as encrypted,
            ):
                encrypted.sendall(b"ping")
                found = encrypted.recv(100)
            return found

        until(lambda: answered() == b"ping")
        with (
            socket.create_connection((address, port), 20) as plain,
            context.wrap_socket(plain, server_hostname="net.example.org") as encrypted,
        ):
            for at in range(0, len(sent), 50_000):
                encrypted.sendall(sent[at : at + 50_000])
                left = 50_000
                while left:
                    left -= len(encrypted.recv(left))


def test_keys_survive_a_restart_and_are_nobody_elses(tmp_path: Path) -> None:
    with balancing(tmp_path) as cloud, target(tells_its_head) as place:
        address, group, _ = make(cloud, "kept", free_port())
        cloud.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": place[0], "Port": place[1]}])
        arn = requested(cloud, "kept.example.org", Tags=[{"Key": "a", "Value": "b"}])
        port = free_port(address)
        https(cloud, group, port, arn)
        shown, authority = serial(cloud, arn), cloud.authority.certificate_file
        assert stat.S_IMODE((tmp_path / "cloud.db").stat().st_mode) == 0o600
        assert stat.S_IMODE((authority.parent / "ca.key").stat().st_mode) == 0o600
        context = trusting(authority)
        with balancing_again(tmp_path, cloud) as again:
            until(lambda: ask((address, port), "kept.example.org", context)[0] == 200)
            assert ask((address, port), "kept.example.org", context)[3] == shown
            assert again.acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]


@contextlib.contextmanager
def balancing_again(home: Path, before: Cloud) -> Iterator[Cloud]:
    """Another balancer of the same home, once the first no longer listens."""
    before.run(before.balancer.stop())
    with balancing(home) as made:
        yield made


def test_what_aws_refuses(cloud: Cloud, behind: tuple[str, str]) -> None:
    _, group = behind
    arn = requested(cloud, "refused.example.org")
    missing = arn[:-4] + "0000"
    action = [{"Type": "forward", "TargetGroupArn": group}]
    base = {"LoadBalancerArn": balancer_of(cloud, group), "Port": free_port(), "DefaultActions": action}
    create = cloud.elb.create_listener
    assert refused(create, **base, Protocol="HTTPS") == "ValidationError"
    given = [{"CertificateArn": arn}]
    assert (
        refused(create, **base, Protocol="HTTPS", Certificates=[{"CertificateArn": missing}]) == "CertificateNotFound"
    )
    assert refused(create, **base, Protocol="HTTPS", Certificates=given * 2) == "TooManyCertificates"
    assert refused(create, **base, Protocol="HTTPS", Certificates=given, SslPolicy="None-2016") == "SSLPolicyNotFound"
    assert refused(create, **base, Protocol="TLS", Certificates=given) == "UnsupportedProtocol"
    assert refused(create, **base, Protocol="HTTP", Certificates=given) == "InvalidConfigurationRequest"
    assert refused(cloud.elb.describe_ssl_policies, Names=["x"]) == "SSLPolicyNotFound"
    plain = cloud.elb.describe_listeners(LoadBalancerArn=base["LoadBalancerArn"])["Listeners"][0]["ListenerArn"]
    assert refused(cloud.elb.add_listener_certificates, ListenerArn=plain, Certificates=given) == "UnsupportedProtocol"
    names = {one["Name"] for one in cloud.elb.describe_ssl_policies()["SslPolicies"]}
    assert "ELBSecurityPolicy-2016-08" in names


def test_what_certificate_manager_refuses_to_import(cloud: Cloud, tmp_path: Path) -> None:
    theirs = Authority(tmp_path / "theirs", time.time)
    other = Authority(tmp_path / "other", time.time)
    old = Authority(tmp_path / "old", lambda: time.time() - 500 * 86400)
    one, two = theirs.issue(["one.example.org"]), theirs.issue(["two.example.org"])
    wrong: dict[str, KeyPair] = {
        "does not match": KeyPair(one.certificate, one.chain, two.key),
        "more than one certificate": KeyPair(one.certificate + two.certificate, one.chain, one.key),
        "certificate chain": KeyPair(one.certificate, other.certificate_file.read_text(), one.key),
        "certificate is not valid": KeyPair("-----BEGIN CERTIFICATE-----\nx", "", one.key),
        "private key is not valid": KeyPair(one.certificate, one.chain, "x"),
        "validity period": old.issue(["old.example.org"]),
    }
    for words, pair in wrong.items():
        request = {"Certificate": pair.certificate, "PrivateKey": pair.key}
        with pytest.raises(ClientError, match=words) as caught:
            cloud.acm.import_certificate(**request, **({"CertificateChain": pair.chain} if pair.chain else {}))
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    issued = requested(cloud, "mine.example.org")
    with pytest.raises(ClientError, match="Only an imported"):
        imported(cloud, one, CertificateArn=issued)
    assert refused(cloud.acm.request_certificate, DomainName="nodots") == "ValidationException"


def test_requests_with_one_token_make_one_certificate(cloud: Cloud) -> None:
    first = requested(cloud, "once.example.org", IdempotencyToken="once")
    assert requested(cloud, "once.example.org", IdempotencyToken="once") == first
    assert requested(cloud, "once.example.org") != first
    listed = [one["CertificateArn"] for one in cloud.acm.list_certificates(MaxItems=1000)["CertificateSummaryList"]]
    assert first in listed
    curved = requested(cloud, "curve.example.org", KeyAlgorithm="EC_secp384r1")
    assert curved not in [one["CertificateArn"] for one in cloud.acm.list_certificates()["CertificateSummaryList"]]
    asked = cloud.acm.list_certificates(Includes={"keyTypes": ["EC_secp384r1"]})["CertificateSummaryList"]
    assert [one["CertificateArn"] for one in asked] == [curved]
