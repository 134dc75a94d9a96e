"""The certificate authority's file cannot be read: it is named and left as it is, and all else goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, SSLError

from skylift.localcloud.certificates.authority import AUTHORITY, KEY
from skylift.testing.cloud import running_cloud

pytestmark = pytest.mark.local


@pytest.mark.parametrize("content", ["", "no key"])
def test_a_damaged_authority_is_named_and_the_rest_goes_on(tmp_path: Path, content: str) -> None:
    key = tmp_path / AUTHORITY / KEY
    key.parent.mkdir()
    key.write_text(content)
    with running_cloud(tmp_path) as cloud:
        with pytest.raises((SSLError, EndpointConnectionError, ConnectionClosedError)):
            cloud.client("ecs", endpoint_url=cloud.url.replace("http:", "https:")).list_clusters()
        with pytest.raises(ClientError, match="is damaged"):
            cloud.client("acm").request_certificate(DomainName="a.example.org")
        assert cloud.client("ecs").list_clusters()["clusterArns"] == []
        assert any(str(key) in str(found) for found in cloud._alone.cloud.damage())
    assert key.read_text() == content
