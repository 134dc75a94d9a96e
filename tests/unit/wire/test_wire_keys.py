"""Session keys that validate themselves: found by any process with the same master, by no other, and not when
altered."""

from __future__ import annotations

import base64
import re

import pytest

from skylift.core.clock import ManualClock
from skylift.wire.signing.keys import DerivedKeys, Key, Keyrings, StaticKeys

pytestmark = pytest.mark.unit

MASTER = b"0123456789abcdef0123456789abcdef"
ADMIN = "arn:aws:iam::000000000000:user/admin"


def test_a_second_process_with_the_same_master_finds_the_key() -> None:
    clock = ManualClock()
    key = DerivedKeys(MASTER, clock).issue(ADMIN, 900)
    assert DerivedKeys(MASTER, clock).find(key.access_key, key.session_token) == key
    assert key.principal == ADMIN
    assert key.expires == clock() + 900
    assert re.fullmatch("ASIA[A-Z2-7]{16}", key.access_key)
    assert len(key.secret) == 40


def test_two_keys_of_one_principal_differ() -> None:
    keys = DerivedKeys(MASTER, ManualClock())
    one, other = keys.issue(ADMIN, 900), keys.issue(ADMIN, 900)
    assert len({one.access_key, other.access_key, one.secret, other.secret}) == 4


def test_an_expired_key_is_found_so_that_the_caller_can_say_so() -> None:
    clock = ManualClock()
    keys = DerivedKeys(MASTER, clock)
    key = keys.issue(ADMIN, 900)
    clock.advance(1000)
    assert keys.find(key.access_key, key.session_token) == key


def test_what_was_not_issued_is_not_found() -> None:
    keys = DerivedKeys(MASTER, ManualClock())
    key, other = keys.issue(ADMIN, 900), keys.issue(ADMIN, 900)
    raw = bytearray(base64.urlsafe_b64decode(key.session_token))
    for place in (0, 31, 32, len(raw) - 1):
        altered = bytearray(raw)
        altered[place] ^= 1
        assert keys.find(key.access_key, base64.urlsafe_b64encode(altered).decode()) is None, place
    for access_key, token in (
        (other.access_key, key.session_token),
        (key.access_key, ""),
        (key.access_key, "not base64!"),
        (key.access_key, "é"),
        (key.access_key, "QUJD"),
        (key.access_key, key.session_token * 20),
        ("é", key.session_token),
    ):
        assert keys.find(access_key, token) is None, (access_key, token)
    assert DerivedKeys(MASTER[::-1], ManualClock()).find(key.access_key, key.session_token) is None


def test_a_short_master_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        DerivedKeys(b"short", ManualClock())


def test_the_first_keyring_that_knows_a_key_gives_it() -> None:
    one = StaticKeys([Key("AKIAONE", "s1", ADMIN)])
    two = StaticKeys([Key("AKIATWO", "s2", ADMIN, session_token="token")])
    both = Keyrings(one, two)
    assert both.find("AKIAONE", "") == Key("AKIAONE", "s1", ADMIN)
    assert both.find("AKIATWO", "token") is not None
    assert both.find("AKIATWO", "") is None
    assert both.find("AKIAONE", "token") is None
    assert both.find("AKIATHREE", "") is None


def test_secrets_do_not_show() -> None:
    key = DerivedKeys(MASTER, ManualClock()).issue(ADMIN, 900)
    assert key.secret not in repr(key)
    assert key.session_token not in repr(key)
