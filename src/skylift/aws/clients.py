"""Makes boto3 clients; nothing else in skylift does.

They share one configuration: time-outs, retries in botocore's ``standard`` mode with jitter, and no
``api.``/``env.``/``ops.`` host prefixes on a custom endpoint (MWAA's model puts them before *any* host, so
``http://127.0.0.1:4747`` would become ``http://api.127.0.0.1:4747``; botocore >= 1.35 reads
``inject_host_prefix``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError

from skylift.aws import models, ready
from skylift.aws.ready import BRIEF, USUAL, CallLimits
from skylift.core.errors import Refused
from skylift.core.partitions import SUFFIXES


def client(
    service: str,
    *,
    region: str | None = None,
    attempts: int = USUAL.attempts,
    read_timeout: float = USUAL.read_timeout,
    connect_timeout: float = USUAL.connect_timeout,
    session: Any = None,
) -> Any:
    """A boto3 client of one service, with credentials and endpoint from the usual AWS places.

    Args:
        service: boto3's name, e.g. ``ecs``.
        region: AWS region; default from the environment or profile.
        attempts: tries of one call, the first included (1 = no retry).
        read_timeout: seconds to wait for an answer.
        connect_timeout: seconds to wait for a connection.
        session: a boto3 session whose credentials to use instead of the usual places.

    Raises:
        Refused: AWS's settings cannot be used: no region, a profile that is not there, an endpoint that is no URL.
    """
    limits = CallLimits(attempts, read_timeout, connect_timeout)
    if session is None and (made := ready.take(service, region, limits)) is not None:
        return made
    prefixes = {"inject_host_prefix": False} if _custom_endpoint(service) else {}
    config = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=32,
        user_agent_extra="skylift",
        **prefixes,
    )
    try:
        return (session or boto3).client(service, region_name=region, config=config)  # pyright: ignore
    except (BotoCoreError, ValueError) as error:
        raise Refused(f"no client for {service}: {str(error).rstrip('.')}{_advice(error)}") from error


def is_aws(made: Any) -> bool:
    """Whether a client talks to AWS itself (VPC endpoints too), and not to another endpoint, which has no AWS
    console."""
    host = str(made.meta.endpoint_url).partition("//")[2].partition("/")[0].partition(":")[0]
    return host.endswith(tuple(f".{suffix}" for suffix in SUFFIXES))


def preload(*services: str, brief: Sequence[str] = ()) -> None:
    """Loads the models of services into boto3's default session, so that a fork of this process finds them there (80 ms
    for S3).

    No credentials are looked for and nothing is connected; clients of the session still read region, endpoint and
    credentials when they are made. What the session does keep is the AWS configuration file: see ``forget``.

    Args:
        services: a service that is named twice also gets two clients that are ready (``aws.ready``), and so on.
        brief: the same, with the limits of that name.
    """
    boto3.DEFAULT_SESSION = models.session()
    for service in dict.fromkeys([*services, *brief]):
        nobody = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        made = boto3.client(service, region_name="us-east-1", **nobody)  # pyright: ignore
        made.can_paginate(next(iter(made.meta.method_to_api_mapping)))  # of any operation: it reads the model of pages
    ready.prepare(
        lambda service, limits, session: client(service, session=session, **limits._asdict()),
        *((service, USUAL) for service in services),
        *((service, BRIEF) for service in brief),
    )


def forget() -> None:
    """A fresh default session, which reads configuration files again; clients that were ready read another."""
    ready.forget()
    boto3.DEFAULT_SESSION = models.session()


def _advice(error: Exception) -> str:
    if isinstance(error, NoRegionError):
        return ": set AWS_REGION, or region_name in the executor's section or connection"
    return ": see AWS's configuration file, the AWS_* variables, and the connection"


def _custom_endpoint(service: str) -> bool:
    own = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
    return bool(os.environ.get(own) or os.environ.get("AWS_ENDPOINT_URL"))
