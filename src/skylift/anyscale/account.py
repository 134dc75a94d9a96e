"""What a connection of type Anyscale says: the console's address, the API key, a bucket for working directories."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.refusals import AnyscaleRefused

BUCKET = "working_dir_bucket"
"""Member of the connection's extra."""
_MISSING = (
    "The connection {conn} has no API key. Put it into the field API Key of a connection of type Anyscale, or as key "
    "into the secret airflow/connections/{conn} of Secrets Manager."
)
_DAMAGED = (
    "The API key of connection {conn} has a space, a line break or a letter that API keys do not have. Copy it again "
    "from Anyscale's console."
)
_NO_BUCKET = (
    f"{BUCKET} in the extra of connection {{conn}} is {{bucket!r}}, and must be like s3://bucket or s3://bucket/prefix."
)


@dataclass(frozen=True)
class Account:
    """How to reach Anyscale.

    Attributes:
        host: address of the console.
        bucket: ``s3://bucket/prefix`` for working directories; empty: the one of Anyscale's cloud.
    """

    host: str
    key: str = field(repr=False)
    bucket: str = ""


def account_of(connection: Any, conn_id: str) -> Account:
    """From a connection of Airflow.

    As with ``astro-provider-anyscale``, an API key may also stand in the option ``[anyscale] cli_token`` or the
    variable ``ANYSCALE_CLI_TOKEN``, and the host in ``ANYSCALE_HOST``.

    Raises:
        AnyscaleRefused: there is no API key, or it cannot be one; or the bucket's address is none.
    """
    key = (connection.password or "").strip() or _key_elsewhere()
    if not key:
        raise AnyscaleRefused(_MISSING.format(conn=conn_id))
    if not re.fullmatch(r"[\w.~+/=-]+", key, re.ASCII):
        raise AnyscaleRefused(_DAMAGED.format(conn=conn_id))
    bucket = str(connection.extra_dejson.get(BUCKET) or "").strip()
    if bucket and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/[^\s?]*)?", bucket):
        raise AnyscaleRefused(_NO_BUCKET.format(conn=conn_id, bucket=bucket))
    return Account(host_of(connection), key, bucket)


def host_of(connection: Any) -> str:
    """The console's address of a connection; its port counts, too."""
    host = (connection.host or "").strip().rstrip("/") or os.environ.get("ANYSCALE_HOST", "").strip().rstrip("/")
    if not host:
        return wire.DEFAULT_HOST
    if "://" not in host:
        # A connection from a URI keeps the scheme elsewhere.
        scheme = connection.schema if connection.schema in {"http", "https"} else "https"
        host = f"{scheme}://{host}"
    return f"{host}:{connection.port}" if connection.port else host


def _key_elsewhere() -> str:
    from airflow.configuration import conf  # lazy: Airflow has loaded it; the parsing of a DAG does not need it

    return str(conf.get("anyscale", "cli_token", fallback="") or os.environ.get("ANYSCALE_CLI_TOKEN", "")).strip()
