"""AWS access as configured in the Airflow connection of ``conn_id``: its credentials, region, endpoints, TLS,
botocore's settings."""

from __future__ import annotations

from threading import Lock
from typing import Any

from skylift.aws.sessions import following, patient
from skylift.core.errors import Refused
from skylift.executors import airflow_compat
from skylift.executors.options.settings import CONN_ID


def session_of(connection: str, region: str, section: str = "aws_ecs_executor", team: str | None = None) -> Any:
    """Makes clients as a connection says; ``None`` for AWS's usual credential chain.

    The usual chain is used without a connection, and for an ``aws_default`` that does not exist or is empty. The amazon
    provider would do the same, but importing its classes takes over a second.

    Args:
        connection: its id; "" for none.
        region: from the option, which overrides the connection's.
        section: where the option is, for errors.
        team: whose connection it is, if Airflow has teams.

    Raises:
        Refused: the connection does not exist or may not be read, or the amazon provider is not installed.
    """
    if not connection:
        return None
    whose = f" of team {team!r}" if team else ""
    where = f"[{section}] conn_id{whose}: the connection {connection!r}"
    try:
        found = airflow_compat.connection_of(connection, team)
    except Exception as error:
        raise Refused(f"{where} cannot be read: {type(error).__name__}: {error}") from error
    if found is None and connection != CONN_ID.default:
        raise Refused(
            f"{where} does not exist, or its backend fails (Airflow's log says so): create it, or name another"
        )
    if found is None or (connection == CONN_ID.default and not _says_something(found)):
        return None
    try:
        return ConnectionSession(connection, region, team)
    except ImportError as error:
        raise Refused(
            f"{where} needs apache-airflow-providers-amazon: install it, or empty or remove the connection"
        ) from error
    except Exception as error:
        raise Refused(f"{where} cannot be used: {type(error).__name__}: {error}") from error


class ConnectionSession:
    """Makes clients as a connection says; replaces a boto3 session. Several threads may use it.

    Credentials follow the connection: a rotated key is in use minutes later. Everything else is read
    once.
    The lock protects the making of clients; botocore has its own lock for credentials.
    """

    def __init__(self, connection: str, region: str, team: str | None = None) -> None:
        self._connection = connection
        self._team = team
        self._region = region or None
        self._lock = Lock()
        self._read: tuple[str, Any] = ("", None)
        self._says = self._wrapped(airflow_compat.connection_of(connection, team))
        self.region_name = self._says.region_name
        source = f"the Airflow connection {connection!r}"
        self._session = following(self.get_credentials, self.region_name, source=source)

    def client(self, service: str, region_name: str | None = None, config: Any = None) -> Any:
        """Like boto3's; ``config`` overrides the connection's settings for botocore."""
        said = self._says.botocore_config
        merged = said.merge(config) if said and config else said or config
        # boto3 sessions must not make clients in several threads at once: they share a loader of models and a registry
        # of events, which change when a client is made.
        with self._lock:
            return self._session.client(
                service,
                region_name=region_name or None,
                endpoint_url=self._says.get_service_endpoint_url(service_name=service),
                verify=self._says.verify,
                config=merged,
            )

    def get_credentials(self) -> Any:
        """The connection's credentials as they are now. Raises whatever reading it, or asking STS, raises."""
        found = airflow_compat.connection_of(self._connection, self._team)
        if found is None:
            # Not AWS's usual chain instead: that may be another account. The old credentials work until they expire.
            raise LookupError(f"the connection {self._connection!r} does not exist any more, or its backend fails")
        text = found.get_uri()
        before, session = self._read
        if session is None or text != before:
            session = _session(self._wrapped(found))
            self._read = (text, session)
        return session.get_credentials()

    def _wrapped(self, found: Any) -> Any:
        from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper  # lazy: slow to import

        return AwsConnectionWrapper(conn=found, region_name=self._region)


def _session(says: Any) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import SessionFactory  # lazy: slow to import

    factory = SessionFactory(conn=says, region_name=says.region_name, config=patient(says.botocore_config))
    return factory.create_session()


def _says_something(found: Any) -> bool:
    return bool(found.login or found.password or found.extra_dejson)
