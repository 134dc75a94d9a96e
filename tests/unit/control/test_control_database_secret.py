"""The secret that says where PostgreSQL is: what is wrong with it is named, and nothing of it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.aws.secrets import Secret
from skylift.control.postgres import PostgresAdmin, ServerAddress
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.unit
WHOLE = {"host": "h", "port": "5432", "username": "u", "password": "pass-word"}


class Secrets:
    """Secrets Manager with one secret, or none."""

    def __init__(self, value: Any) -> None:
        self.value, self.reads = value, 0

    def read(self, name: str) -> Secret | None:
        assert name == "skylift/postgres"
        self.reads += 1
        return None if self.value is None else Secret("arn", "1", self.value)


def admin(value: Any) -> tuple[PostgresAdmin, Secrets]:
    secrets = Secrets(value)
    return PostgresAdmin(secrets, "skylift/postgres"), secrets  # type: ignore[arg-type]


def test_it_is_read_once() -> None:
    postgres, secrets = admin(WHOLE)
    assert [postgres.server(), postgres.server()] == [ServerAddress("h", 5432, "u", "pass-word")] * 2
    assert secrets.reads == 1
    assert "pass-word" not in repr(postgres.server())


@pytest.mark.parametrize("name", WHOLE)
def test_what_it_lacks_is_named(name: str) -> None:
    postgres, _ = admin({key: value for key, value in WHOLE.items() if key != name})
    with pytest.raises(Refused) as refused:
        postgres.server()
    said = f"the secret skylift/postgres must have host, port, username, password; lacks '{name}'"
    assert str(refused.value) == said


def test_what_has_another_form_is_named_and_not_shown() -> None:
    postgres, _ = admin({**WHOLE, "port": "pass-word"})
    with pytest.raises(Refused, match="must be a JSON object with host, port") as refused:
        postgres.server()
    assert refused.value.__cause__ is None
    assert "pass-word" not in str(refused.value)


def test_one_that_is_not_there_yet_is_waited_for() -> None:
    postgres, secrets = admin(None)
    with pytest.raises(Unavailable, match="is not there yet"):
        postgres.server()
    secrets.value = WHOLE
    assert postgres.server().host == "h"
