"""Which endpoint is behind the local cloud, and which services stay: the setting. Light, because the command line reads
it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from skylift.core.settings import Setting

STAYS = (
    *("ecs", "batch", "elasticloadbalancing", "acm", "application-autoscaling", "airflow", "logs"),
    *("s3", "sqs", "sns", "secretsmanager", "ssm", "monitoring", "events", "scheduler", "pipes"),
    *("iam", "sts", "ec2", "servicediscovery", "tagging"),
)
"""Services that are served here whatever is behind: those that skylift implements, those that its containers and
environments read or write (files, queues, secrets, metrics, events, keys, networks, names), and SNS, pipes and tags,
which read these within this process. By the name in the signature's scope."""

NOBODY = "none"
TEST_KEY, TEST_SECRET = "test", "test"


@dataclass(frozen=True)
class Behind:
    """An endpoint that the user runs.

    Attributes:
        url: without a path, a slash at the end, or credentials.
        access_key: signs what is forwarded.
        secret: the same.
    """

    url: str
    access_key: str = TEST_KEY
    secret: str = field(default=TEST_SECRET, repr=False)

    def takes(self, service: str) -> bool:
        """Whether requests to this service go there. Unsigned ones (no service) are S3's, or nobody's."""
        return bool(service) and service not in STAYS


def behind(text: str) -> Behind | None:
    """Reads ``http://[KEY:SECRET@]HOST[:PORT]``; ``none`` means nobody. Raises ``ValueError`` with advice."""
    text = text.strip()
    if text.lower() == NOBODY:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("expected http://HOST:PORT, http://KEY:SECRET@HOST:PORT, or none")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    if parts.username is None:
        return Behind(url)
    if not parts.username or not parts.password:
        raise ValueError("expected both a key and a secret before the @")
    return Behind(url, unquote(parts.username), unquote(parts.password))


OTHERS: Setting[Behind | None] = Setting(
    "others",
    behind,
    None,
    "Another AWS-compatible endpoint, http://[KEY:SECRET@]HOST:PORT: requests to services that skylift does not need "
    "itself are forwarded to it, signed anew (key and secret: test, if none are given). none: all are served here.",
    secret=True,
)
