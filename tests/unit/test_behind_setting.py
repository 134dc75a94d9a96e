"""Which endpoint is behind, and which services go to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.cli.home import Home
from skylift.cli.serving.others import chosen_others, others_of, refuse_others
from skylift.core.errors import Refused
from skylift.localcloud.behind.setting import OTHERS, STAYS, Behind, behind
from skylift.localcloud.emulators.iam.judging import is_s3
from skylift.localcloud.emulators.table import TABLE, Emulator, Served, forgetful
from skylift.wire.asgi import Head


def test_addresses() -> None:
    assert behind("http://127.0.0.1:4566/") == Behind("http://127.0.0.1:4566")
    assert behind("https://me:s%2Fe@emulator.test") == Behind("https://emulator.test", "me", "s/e")
    assert behind("http://[::1]:5000") == Behind("http://[::1]:5000")
    assert behind("none") is None
    for wrong in ("127.0.0.1:4566", "ftp://x", "http://", "http://x/path", "http://key@x"):
        with pytest.raises(ValueError, match="expected"):
            behind(wrong)


def test_the_secret_is_not_shown() -> None:
    assert "hidden" not in repr(behind("http://me:hidden@x"))
    with pytest.raises(Refused) as refused:
        OTHERS.read({OTHERS.env: "http://me:hidden@x/path"})
    assert "hidden" not in str(refused.value)


def test_what_skylift_serves_itself_stays() -> None:
    ours = {row.names[0] for row in TABLE if row.server is Emulator.SKYLIFT}
    assert ours <= set(STAYS)
    assert set(STAYS) <= {row.names[0] for row in TABLE}
    others = Behind("http://x")
    assert others.takes("dynamodb")
    assert others.takes("a-service-of-tomorrow")
    assert not any(others.takes(service) for service in ("", *STAYS))


def test_the_choice_is_remembered_and_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert chosen_others(home, {}) is None
    chosen = chosen_others(home, {OTHERS.env: "http://me:hidden@x:1"})
    assert chosen_others(home, {}) == others_of(home) == chosen == Behind("http://x:1", "me", "hidden")
    assert (home.folder / "others").stat().st_mode & 0o777 == 0o600
    refuse_others(home, {})
    refuse_others(home, {OTHERS.env: "http://me:hidden@x:1/"})
    with pytest.raises(Refused, match="skylift down") as refused:
        refuse_others(home, {OTHERS.env: "none"})
    assert "hidden" not in str(refused.value)
    assert chosen_others(home, {OTHERS.env: "none"}) is None
    assert others_of(home) is None


def test_what_forgets_is_forwarded() -> None:
    assert not set(forgetful()) & set(STAYS)  # skylift status leaves those out, then


def test_a_buckets_host_does_not_make_a_forwarded_request_one_to_s3() -> None:
    head = Head("POST", "/", "", {"host": "bucket.s3.localhost:4747"})
    assert is_s3(Served(("sqs",), Emulator.MINISTACK), head)
    assert not is_s3(Served(("dynamodb",), Emulator.OTHERS), head)
    assert not is_s3(Served(("glacier",), Emulator.MOTO), head)
