"""AWS credentials from an Airflow connection, for those who set ``conn_id``."""

from __future__ import annotations

from typing import Any

from skylift.core.errors import Refused


def session_of(connection: str, region: str) -> Any:
    """A boto3 session with a connection's credentials, refreshed by the amazon provider; ``None`` without a connection.

    Raises:
        Refused: there is no such connection, or the amazon provider is not installed.
    """
    if not connection:
        return None
    try:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # lazy: slow to import, rarely needed
    except ImportError as error:
        raise Refused(
            "[aws_ecs_executor] conn_id needs apache-airflow-providers-amazon: install it, or unset it"
        ) from error
    return AwsBaseHook(aws_conn_id=connection, region_name=region or None).get_session()
