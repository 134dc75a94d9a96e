"""Sign-in tokens from the control plane's signer to the API server's reader, with a moved clock."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skylift.aws.secrets import Text
from skylift.control.api.tokens import KEY_SECRET, TokenSigner
from skylift.core.access_tokens import TokenUse, audience_of, identity_of
from skylift.core.errors import Refused, Unavailable
from skylift.core.roles import Role
from skylift.runtime.auth.spent import SpentTokens
from skylift.runtime.auth.tokens import EXPIRED, NOT_OURS, USED, Entry, TokenReader

pytestmark = pytest.mark.unit
NOW = 1_800_000_000.0


class OneSecret:
    """Secrets Manager with one secret."""

    def __init__(self) -> None:
        self.text = ""

    def make_text(self, name: str, text: str) -> None:
        assert name == KEY_SECRET
        self.text = self.text or text

    def read_text(self, name: str) -> Text | None:
        return Text("arn", "version", self.text) if self.text else None


class World:
    """A control plane, and the API server of the environment "flight"."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.secret = OneSecret()
        self.signer = TokenSigner(self.secret, self.clock)  # type: ignore[arg-type]
        self.signer.make_key()
        self.engine = sqlalchemy.create_engine(f"sqlite:///{folder}/airflow.db")
        self.reader = self.reader_of("flight")

    def clock(self) -> float:
        return self.now

    def reader_of(self, environment: str) -> TokenReader:
        return TokenReader(self.signer.public_key(), environment, SpentTokens(self.engine), self.clock)

    def token(self, use: TokenUse = TokenUse.WEB, role: Role = Role.VIEWER) -> str:
        return self.signer.token(use, "flight", "user/anna", role)

    def refusal(self, token: str, use: TokenUse = TokenUse.WEB) -> str:
        with pytest.raises(Refused) as caught:
            self.reader.accept(token, use)
        return str(caught.value)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def with_part(token: str, number: int, value: dict[str, Any]) -> str:
    parts = token.split(".")
    parts[number] = base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    return ".".join(parts)


def test_a_token_says_who_comes_in_with_which_role(world: World) -> None:
    assert world.reader.accept(world.token(role=Role.OP), TokenUse.WEB) == Entry("user/anna", Role.OP)


def test_a_token_is_valid_for_sixty_seconds(world: World) -> None:
    early, late = world.token(), world.token()
    world.now += 59.9
    world.reader.accept(early, TokenUse.WEB)
    world.now += 0.1
    assert world.refusal(late) == EXPIRED


def test_a_token_works_once(world: World) -> None:
    token = world.token()
    world.reader.accept(token, TokenUse.WEB)
    assert world.refusal(token) == USED
    world.reader.accept(world.token(), TokenUse.WEB)


def test_of_a_hundred_at_once_one_wins(world: World) -> None:
    token = world.token()
    world.reader.accept(world.token(), TokenUse.WEB)
    begin = threading.Barrier(100)
    counted: Counter[str] = Counter()

    def use() -> None:
        begin.wait()
        try:
            world.reader_of("flight").accept(token, TokenUse.WEB)
            counted["in"] += 1
        except Refused as error:
            counted[str(error)] += 1

    threads = [threading.Thread(target=use) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == {"in": 1, USED: 99}


def test_a_token_of_another_environment_is_refused(world: World) -> None:
    assert world.refusal(world.signer.token(TokenUse.WEB, "other", "user/anna", Role.ADMIN)) == NOT_OURS


def test_a_token_for_one_use_is_refused_for_the_other(world: World) -> None:
    assert world.refusal(world.token(TokenUse.CLI)) == NOT_OURS
    assert world.refusal(world.token(TokenUse.WEB), TokenUse.CLI) == NOT_OURS
    assert world.reader.accept(world.token(TokenUse.CLI), TokenUse.CLI).role is Role.VIEWER


@pytest.mark.parametrize("change", [{"role": "Admin"}, {"sub": "user/root"}, {"exp": NOW + 9999}, {"jti": "another"}])
def test_a_changed_token_is_refused(world: World, change: dict[str, Any]) -> None:
    token = world.token()
    assert world.refusal(with_part(token, 1, {**claims_of(token), **change})) == NOT_OURS


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256", "typ": "JWT"}, {}])
def test_another_algorithm_is_refused(world: World, header: dict[str, Any]) -> None:
    token = with_part(world.token(), 0, header)
    assert world.refusal(token) == NOT_OURS
    assert world.refusal(token.rpartition(".")[0] + ".") == NOT_OURS


def test_a_token_that_somebody_else_has_signed_is_refused(world: World) -> None:
    signed = world.token().rpartition(".")[0]
    forged = base64.urlsafe_b64encode(Ed25519PrivateKey.generate().sign(signed.encode())).decode().rstrip("=")
    assert world.refusal(f"{signed}.{forged}") == NOT_OURS


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é.é.é", "." * 1000])
def test_what_is_no_token_is_refused(world: World, text: str) -> None:
    assert world.refusal(text) == NOT_OURS


def test_a_role_that_airflow_does_not_have_is_refused(world: World) -> None:
    key = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(world.secret.text))
    token = with_part(world.token(), 1, {**claims_of(world.token()), "role": "Root"}).rpartition(".")[0]
    signature = base64.urlsafe_b64encode(key.sign(token.encode())).decode().rstrip("=")
    assert world.refusal(f"{token}.{signature}") == NOT_OURS


def test_the_key_is_made_once_and_never_leaves(world: World) -> None:
    before = world.signer.public_key()
    world.signer.make_key()
    assert world.signer.public_key() == before
    assert world.secret.text not in world.token()
    assert before != world.secret.text


def test_without_a_key_nobody_gets_a_token() -> None:
    signer = TokenSigner(OneSecret(), lambda: NOW)  # type: ignore[arg-type]
    assert signer.public_key() == ""
    with pytest.raises(Unavailable):
        signer.token(TokenUse.WEB, "flight", "user/anna", Role.ADMIN)


def test_a_long_identity_becomes_a_digest() -> None:
    assert identity_of("arn:aws:sts::000000000000:assumed-role/Analyst/anna") == "assumed-role/Analyst/anna"
    assert identity_of("arn:aws:iam::000000000000:root") == "root"
    long = identity_of("arn:aws:sts::000000000000:assumed-role/Analyst/" + "a" * 64)
    assert len(long) == 64
    assert audience_of("flight", TokenUse.CLI) == "airflow:flight:cli"
