"""A setting: its variable, its default, and what is said of a value that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.core.errors import Refused
from skylift.core.settings import Setting, flag, read_all, whole_number

pytestmark = pytest.mark.unit
PORT = Setting("listen_port", whole_number(1, 65535), 4747, "Port of the endpoint.")
SECRET = Setting("token", whole_number(1, 9), 1, "A number that nobody may know.", secret=True)
NEEDED = Setting("bucket", str, None, "The bucket.", required=True, variable="THE_BUCKET")


@pytest.mark.parametrize(
    ("environ", "value"), [({}, 4747), ({"SKYLIFT_LISTEN_PORT": ""}, 4747), ({"SKYLIFT_LISTEN_PORT": "80"}, 80)]
)
def test_its_value_is_its_variables_or_its_default(environ: dict[str, str], value: int) -> None:
    assert PORT.read(environ) == value
    assert read_all([PORT], environ) == {"listen_port": value}


@pytest.mark.parametrize("text", ["0", "65536", "x", "1.5", "-1"])
def test_a_wrong_value_is_named_and_shown(text: str) -> None:
    with pytest.raises(Refused) as refused:
        PORT.read({"SKYLIFT_LISTEN_PORT": text})
    said = str(refused.value)
    assert said.startswith(f"SKYLIFT_LISTEN_PORT: {text!r} cannot be used: ")
    assert said.endswith(". It is: Port of the endpoint.")


def test_a_secret_is_never_shown() -> None:
    with pytest.raises(Refused) as refused:
        SECRET.read({"SKYLIFT_TOKEN": "77"})
    assert str(refused.value).startswith("SKYLIFT_TOKEN: its value cannot be used: ")
    assert "77" not in str(refused.value).replace("its value", "")


def test_what_must_be_set_is_named_by_its_own_variable() -> None:
    with pytest.raises(Refused, match=r"^THE_BUCKET is not set: The bucket\.$"):
        NEEDED.read({})
    assert NEEDED.read({"THE_BUCKET": "b"}) == "b"


@pytest.mark.parametrize("word", ["true", "T", "yes", "y", "1", "on", " On "])
def test_yes(word: str) -> None:
    assert flag(word) is True


@pytest.mark.parametrize("word", ["false", "F", "no", "n", "0", "off"])
def test_no(word: str) -> None:
    assert flag(word) is False


@pytest.mark.parametrize("word", ["", "maybe", "2", "truth"])
def test_neither(word: Any) -> None:
    with pytest.raises(ValueError, match="true"):
        flag(word)
