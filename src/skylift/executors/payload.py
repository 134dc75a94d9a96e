"""The command and environment of a container: how the workload gets there, inline or by reference.

By reference (``[skylift] payload_url``): the workload's JSON, with its token, is an object in S3 and the container learns
only the object's URL, so that nobody reads the token with DescribeTasks and length is no matter. The container deletes the
object once fetched; one that stays (its container never began, or may not delete) is for a lifecycle rule of the bucket.
Inline: in the command, as the amazon provider's executor does.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from skylift.aws.clients import client
from skylift.aws.s3_objects import S3Objects
from skylift.core.attempt import Attempt
from skylift.core.names import s3_url, split_s3_url
from skylift.executors import in_container


@dataclass(frozen=True)
class Payload:
    """What the container is started with. ``command`` may hold the token: never print it."""

    command: tuple[str, ...]
    environment: dict[str, str]


class Payloads:
    """Prepares payloads.

    Args:
        url: ``s3://bucket/prefix`` under which workloads are put; "" for inline.
        session: a boto3 session with the credentials to put them with; ``None`` for the usual places.
        region: AWS region; "" as AWS's own settings say.

    Raises:
        ValueError: ``url`` is not an S3 URL.
    """

    def __init__(self, url: str = "", *, session: Any = None, region: str = "") -> None:
        self._bucket, self._prefix = split_s3_url(url) if url else ("", "")
        if self._bucket:
            # Here, in one thread: boto3 sessions must not make clients in several at once.
            s3 = client("s3", region=region or None, attempts=3, read_timeout=20, session=session)
            self._objects = S3Objects(s3)

    def prepare(self, attempt: Attempt) -> Payload:
        """The payload of an attempt; puts the object when there is one. Repeating it renews the object's token.

        Raises:
            Refused, Unavailable: S3 said no.
        """
        # Airflow's own switch for containerised executors: the output of the process is not captured twice.
        environment = {"AIRFLOW_IS_EXECUTOR_CONTAINER": "true"}
        if not self._bucket:
            return Payload((*command(), attempt.document()), environment)
        key = "/".join(filter(None, (self._prefix.strip("/"), f"{attempt.token}.json")))
        self._objects.put(self._bucket, key, attempt.document().encode())
        environment[in_container.WORKLOAD_URL] = s3_url(self._bucket, key)
        return Payload(command(), environment)


@cache
def command() -> tuple[str, ...]:
    """``python -c`` with the text of ``in_container.py``, without comments, docstrings and annotations."""
    tree = ast.parse(Path(in_container.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
    return "python", "-c", ast.unparse(tree)
