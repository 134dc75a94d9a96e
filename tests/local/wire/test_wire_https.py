"""TLS and plain HTTP on one port: real clients, and a certificate of the state folder's authority."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import SSLError

from skylift.localcloud.certificates.authority import AUTHORITY
from skylift.testing.cloud import Cloud, running_cloud
from skylift.wire.connections import Limits
from skylift.wire.serve import serving

pytestmark = pytest.mark.local
SIZE = 3_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("https")


@pytest.fixture(scope="module")
def cloud(home: Path) -> Iterator[Cloud]:
    with running_cloud(home) as running:
        yield running


@pytest.fixture(scope="module")
def trusted(cloud: Cloud, home: Path) -> str:
    """The authority's certificate, which the first client with TLS makes appear."""
    port = int(cloud.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 20) as plain:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        unverified.wrap_socket(plain, server_hostname="localhost").close()
    return str(home / AUTHORITY / "ca.pem")


def encrypted(cloud: Cloud, service: str, trusted: Any) -> Any:
    return cloud.client(service, endpoint_url=cloud.url.replace("http:", "https:"), verify=trusted)


def test_both_on_one_port(cloud: Cloud, trusted: str) -> None:
    s3, plain = encrypted(cloud, "s3", trusted), cloud.client("s3")
    s3.create_bucket(Bucket="both")
    body = os.urandom(SIZE)
    s3.put_object(Bucket="both", Key="a", Body=body)
    assert plain.get_object(Bucket="both", Key="a")["Body"].read() == body
    assert s3.get_object(Bucket="both", Key="a")["Body"].read() == body
    assert encrypted(cloud, "ecs", trusted).list_clusters()["clusterArns"] == plain_clusters(cloud)


def plain_clusters(cloud: Cloud) -> Any:
    return cloud.client("ecs").list_clusters()["clusterArns"]


def test_who_does_not_trust_the_authority_is_not_served(cloud: Cloud, trusted: str) -> None:
    with pytest.raises(SSLError):
        encrypted(cloud, "ecs", None).list_clusters()
    assert encrypted(cloud, "ecs", trusted).list_clusters()["clusterArns"] == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "api.localhost"])
def test_names_of_this_machine(cloud: Cloud, trusted: str, host: str) -> None:
    port = int(cloud.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=trusted)
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        assert connection.version() in {"TLSv1.2", "TLSv1.3"}


def test_a_server_without_certificates_answers_as_to_any_nonsense() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    with serving(app, limits=Limits(head_seconds=1.0)) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 20) as refused:
            refused.sendall(b"\x16\x03\x01\x00\x05hello")
            assert b"400" in refused.recv(100)  # there are no certificates here: it is bad HTTP
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        plain.request("GET", "/")
        assert plain.getresponse().read() == b"fine"
        plain.close()


def test_broken_handshakes_hold_no_room(cloud: Cloud, trusted: str) -> None:
    port = int(cloud.url.rpartition(":")[2])
    open_ones = []
    for number in range(40):
        one = socket.create_connection(("127.0.0.1", port), 20)
        one.sendall(b"\x16\x03\x01\x00\x05hello" if number % 2 else b"\x16")
        if number % 3:
            one.close()
        else:
            open_ones.append(one)
    assert encrypted(cloud, "ecs", trusted).list_clusters()["clusterArns"] == []
    web = cloud._alone._web._server
    for one in open_ones:
        one.close()
    deadline = time.monotonic() + 60
    while len(web.server_state.connections) > 4:
        assert time.monotonic() < deadline, web.server_state.connections
        time.sleep(0.05)


def test_the_shells_variables_are_enough(cloud: Cloud, trusted: str) -> None:
    script = "import boto3; print(boto3.client('ecs').list_clusters()['clusterArns'])"
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SKYLIFT_"))},
        **cloud.variables,
        "AWS_ENDPOINT_URL": cloud.url.replace("http:", "https:"),
        "AWS_CA_BUNDLE": trusted,
    }
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
