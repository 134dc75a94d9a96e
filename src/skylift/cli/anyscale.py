"""What ``skylift up --with-anyscale`` prepares: a fake of Anyscale, a connection in Airflow, a secret with its key."""

from __future__ import annotations

import json
from typing import Any

from skylift.anyscale_fake.server import Address
from skylift.aws import signed
from skylift.aws.errors import calling
from skylift.cli.account import exists
from skylift.cli.connection import Connection
from skylift.cli.home import REGION
from skylift.cli.runs.airflow_objects import AirflowObjects
from skylift.cli.serving.anyscale import ANYSCALE
from skylift.core.errors import Broken, Refused

CONNECTION = "anyscale"
SECRET = "airflow/connections/anyscale_secret"  # noqa: S105 - the secret's name


def switch(here: Connection, on: bool) -> str:
    """Starts or ends the fake in the running server; returns its host. Errors as ``signed.call``, and ``Refused`` with
    its reason."""
    found = signed.call("POST" if on else "DELETE", ANYSCALE, region=REGION, timeout=60)
    if found["error"]:
        raise Refused(str(found["error"]))
    if on:
        _put_secret(here)
    return str(found["host"])


def connect(here: Connection, environment: dict[str, Any]) -> None:
    """Makes the connection in an environment's Airflow, as somebody would in its form. Raises ``Refused`` or
    ``Unavailable``."""
    address = _address(here)
    members = {"conn_type": "anyscale", "host": address.url, "password": address.key}
    objects = AirflowObjects(here.airflow(environment))
    objects.set_connection(CONNECTION, members, new=CONNECTION not in objects.connections())


def _put_secret(here: Connection) -> None:
    """The secret of Amazon's guide, for environments whose option ``secrets.backend`` reads it."""
    address, secrets = _address(here), here.client("secretsmanager")
    value = json.dumps({"conn_type": "anyscale", "key": address.key, "host": address.url})
    known = exists(lambda: secrets.describe_secret(SecretId=SECRET), f"secretsmanager DescribeSecret {SECRET}")
    with calling(f"secretsmanager PutSecretValue {SECRET}"):
        if known:
            secrets.put_secret_value(SecretId=SECRET, SecretString=value)
        else:
            secrets.create_secret(Name=SECRET, SecretString=value)


def _address(here: Connection) -> Address:
    address = Address.read(here.home.folder / "anyscale")
    if address is None:
        raise Broken("the fake of Anyscale was started, and left no address")
    return address
