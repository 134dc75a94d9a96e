"""Sends Airflow's logs to CloudWatch with fewer calls and less CPU: ``[logging] logging_config_class`` of an
environment.

CloudWatch gets what Airflow's provider would write, under the same names. The provider's own code costs every Airflow
task a third of its CPU (measured in ``docs/decisions/0004-fast-starts.md``): it searches all modules for a name for the
user agent, makes its own session and fetches its own credentials, asks twice whether the log group exists, and writes
to a stream to learn that it does not exist. A user who sets another ``logging_config_class`` gets the provider's code.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.log import cloudwatch_task_handler as provider

from skylift.aws.clients import client
from skylift.aws.errors import calling
from skylift.core.errors import SkyliftError


def __getattr__(name: str) -> Any:
    """``LOGGING_CONFIG`` and ``REMOTE_TASK_LOG``, made when Airflow asks for them: a template imports this module
    before Airflow is configured."""
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
    """The provider's class, with our handler, and the lines of triggers."""

    @cached_property
    def _client(self) -> Any:
        return client("logs", region=self.region_name)

    def stream(self, relative_path: str, ti: Any) -> Any:
        """Also what a trigger wrote while the Airflow task waited: the triggerer has a stream of its own for it, which
        the provider's code does not look for."""
        messages, logs = super().stream(relative_path, ti)
        prefix = f"{relative_path.replace(':', '_')}.trigger."
        try:
            with calling("logs DescribeLogStreams"):
                answer = self._client.describe_log_streams(logGroupName=self.log_group, logStreamNamePrefix=prefix)
        except SkyliftError as error:
            return [*messages, f"The log of the triggerer cannot be read: {error}"], logs
        for name in (one["logStreamName"] for one in answer["logStreams"]):
            logs += super().stream(name, ti)[1]
        return messages, logs

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
    """Watchtower's handler, except that it creates the stream before its first write, and the group only when AWS
    answers that it does not exist."""

    def _submit_batch(self, batch: list[dict[str, Any]], log_stream_name: str, max_retries: int = 5) -> None:
        # Runs in the one thread that writes to this stream. Before the first answer there is no token.
        if batch and self.sequence_tokens.get(log_stream_name) is None and log_stream_name not in self._made:
            self._made.add(log_stream_name)
            self._make(log_stream_name)
        super()._submit_batch(batch, log_stream_name, max_retries)

    @cached_property
    def _made(self) -> set[str]:
        return set()

    def _make(self, stream: str) -> None:
        """Ignores errors: watchtower meets them again when it writes, and reports them."""
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
