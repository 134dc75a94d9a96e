"""Airflow's logs on their way to CloudWatch, with fewer calls and less CPU: ``[logging] logging_config_class`` of an
environment.

What is in CloudWatch is what Airflow's provider writes, under the same names. Its own way there costs every Airflow
task a third of its CPU (measured in ``docs/decisions/0004-fast-starts.md``): it looks through all modules for a name in
the user agent, makes a session and fetches credentials of its own, twice asks whether the log group is there, and
writes to a stream to learn that it is not. Whoever sets another ``logging_config_class`` has the provider's.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.log import cloudwatch_task_handler as provider

from skylift.aws.clients import client


def __getattr__(name: str) -> Any:
    """``LOGGING_CONFIG`` and ``REMOTE_TASK_LOG``, when Airflow looks for them: a template imports us before it is
    configured."""
    if name == "LOGGING_CONFIG":
        from airflow.config_templates.airflow_local_settings import (  # lazy: reads the configuration
            DEFAULT_LOGGING_CONFIG,
        )

        return DEFAULT_LOGGING_CONFIG
    if name == "REMOTE_TASK_LOG":
        wanted = conf.getboolean("logging", "remote_logging", fallback=False)
        place = conf.get("logging", "remote_base_log_folder", fallback="")
        return TaskLogs.from_config() if wanted and place.startswith("cloudwatch://") else None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class TaskLogs(provider.CloudWatchRemoteLogIO):
    """The provider's, with a handler of ours."""

    @cached_property
    def _client(self) -> Any:
        return client("logs", region=self.region_name)

    def _build_handler(self) -> Handler:
        own = conf.getimport("aws", "cloudwatch_task_handler_json_serializer", fallback=None)
        return Handler(
            log_group_name=self.log_group,
            log_stream_name=self.log_stream_name,
            boto3_client=self._client,
            create_log_group=False,
            json_serialize_default=own or provider.json_serialize_legacy,
        )


class Handler(provider.watchtower.CloudWatchLogHandler):
    """Watchtower's, which makes a stream before it first writes to it, and the group only when that says that there is
    none."""

    def _submit_batch(self, batch: list[dict[str, Any]], log_stream_name: str, max_retries: int = 5) -> None:
        # In the one thread that writes to this stream. Before the first answer there is no token.
        if batch and self.sequence_tokens.get(log_stream_name) is None and log_stream_name not in self._made:
            self._made.add(log_stream_name)
            self._make(log_stream_name)
        super()._submit_batch(batch, log_stream_name, max_retries)

    @cached_property
    def _made(self) -> set[str]:
        return set()

    def _make(self, stream: str) -> None:
        """What goes wrong here, watchtower meets again when it writes, and tells."""
        errors = self.cwl_client.exceptions
        names = {"logGroupName": self.log_group_name, "logStreamName": stream}
        try:
            try:
                self._idempotent_call("create_log_stream", **names)
            except errors.ResourceNotFoundException:
                self._idempotent_call("create_log_group", logGroupName=self.log_group_name)
                self._idempotent_call("create_log_stream", **names)
        except errors.ClientError:
            return
