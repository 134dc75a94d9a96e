"""Signed calls of skylift's own routes (``/_skylift/...``), which no SDK knows: JSON in, JSON out."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from skylift.core.errors import Refused, Unavailable

SERVICE = "skylift"
"""The service in the signature's scope: ``wire.app.SIGNED_SERVICE``."""


def call(method: str, path: str, value: object = None, *, region: str, timeout: float = 10.0) -> Any:
    """Calls a signed route at ``AWS_ENDPOINT_URL`` with the credentials of the usual AWS places.

    Args:
        method: e.g. ``GET``.
        path: percent-encoded, from ``/_skylift`` on.
        value: the request's JSON; ``None``: no body.
        region: for the signature's scope.
        timeout: seconds.

    Returns:
        The answer's JSON.

    Raises:
        Refused: no endpoint or credentials, or an answer from 400 to 499, with its message.
        Unavailable: nobody answers, or an answer from 500 on.
    """
    url = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/") + path
    credentials = boto3.Session().get_credentials()
    if credentials is None or not url.startswith("http"):
        raise Refused("there are no AWS credentials or no AWS_ENDPOINT_URL; see skylift shellenv")
    body = b"" if value is None else json.dumps(value).encode()
    request = AWSRequest(method, url, headers={"Content-Type": "application/json"}, data=body)
    SigV4Auth(credentials.get_frozen_credentials(), SERVICE, region).add_auth(request)
    # Loopback: a proxy would not reach it. http only, as the check above says.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    plain = urllib.request.Request(url, body or None, dict(request.headers.items()), method=method)  # noqa: S310
    try:
        with direct.open(plain, timeout=timeout) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        kind = Refused if error.code < 500 else Unavailable
        raise kind(f"{method} {path}: {_message(error)}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise Unavailable(f"{method} {path}: no answer ({error})") from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read())
        return str(found.get("message") or found)
    except (OSError, ValueError, AttributeError):
        return str(error)
