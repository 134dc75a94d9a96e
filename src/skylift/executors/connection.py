"""AWS credentials from the Airflow connection that ``conn_id`` names."""

from __future__ import annotations

from typing import Any

from skylift.core.errors import Refused
from skylift.executors.settings import CONN_ID


def session_of(connection: str, region: str, section: str = "aws_ecs_executor") -> Any:
    """A boto3 session with a connection's credentials, refreshed by the amazon provider; ``None`` for AWS's own chain.

    The chain it is without a connection, and for an ``aws_default`` that is not there or empty: the amazon provider would
    come to the same, but importing its hook takes over a second. Another connection that is not there is the chain, too,
    with the provider's warning.

    Raises:
        Refused: the amazon provider is not installed, or the connection may not be read.
    """
    if not connection or (connection == CONN_ID.default and not _says_something(connection, section)):
        return None
    try:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # lazy: slow to import, rarely needed
    except ImportError as error:
        raise Refused(
            f"[{section}] conn_id: the connection {connection} needs apache-airflow-providers-amazon: install it, "
            "or empty or remove the connection"
        ) from error
    return AwsBaseHook(aws_conn_id=connection, region_name=region or None).get_session()


def _says_something(connection: str, section: str) -> bool:
    from airflow.exceptions import AirflowException, AirflowNotFoundException  # lazy: only where Airflow runs
    from airflow.models.connection import Connection  # lazy: as above

    try:
        found = Connection.get_connection_from_secrets(connection)
    except AirflowNotFoundException:
        return False
    except AirflowException as error:
        raise Refused(f"[{section}] conn_id: the connection {connection} cannot be read: {error}") from error
    return bool(found.login or found.password or found.extra_dejson)
