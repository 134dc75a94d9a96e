"""The control plane's calls to CloudWatch Logs."""

from __future__ import annotations

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of


class LogGroups:
    """Log groups and the ends of streams. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._logs = client("logs", region=region)

    def groups(self, prefix: str) -> set[str]:
        """Names of the log groups that begin so."""
        with calling(f"logs DescribeLogGroups {prefix}"):
            pages = self._logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
            return {str(group["logGroupName"]) for page in pages for group in page["logGroups"]}

    def make_group(self, name: str) -> None:
        """Makes a log group; an existing one is not an error."""
        self._quietly("create_log_group", name, "ResourceAlreadyExistsException")

    def delete_group(self, name: str) -> None:
        """Deletes a log group with all its streams; a missing one is not an error."""
        self._quietly("delete_log_group", name, "ResourceNotFoundException")

    def last_lines(self, group: str, stream: str, most: int = 20) -> tuple[str, ...]:
        """The last lines of a stream, oldest first; none when group or stream are not there."""
        with calling(f"logs GetLogEvents {group}"):
            try:
                answer = self._logs.get_log_events(
                    logGroupName=group, logStreamName=stream, limit=most, startFromHead=False
                )
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return ()
                raise
        return tuple(str(event["message"]).rstrip() for event in answer["events"])

    def _quietly(self, operation: str, name: str, expected: str) -> None:
        with calling(f"logs {operation} {name}"):
            try:
                getattr(self._logs, operation)(logGroupName=name)
            except ClientError as error:
                if code_of(error) != expected:
                    raise
