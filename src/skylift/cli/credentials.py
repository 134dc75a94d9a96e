"""The owner's AWS credentials for the local cloud: created once, stored in AWS's own file format, mode 0600.

They work like AWS's: every request to the server is signed with them, and the server checks it.
"""

from __future__ import annotations

import configparser
import secrets
import string
from dataclasses import dataclass

from skylift.cli.home import ACCOUNT, REGION, Home, endpoint, write_private
from skylift.core.names import arn
from skylift.localcloud.damage import Damage, Damaged, read_state
from skylift.localcloud.state_file import copy_content

OWNER = arn("iam", "", ACCOUNT, "user/skylift")
"""The principal of requests signed with the owner's key."""


@dataclass(frozen=True)
class OwnerKey:
    """The owner's long-lived key. ``repr`` never shows the secret."""

    access_key: str
    secret: str

    def __repr__(self) -> str:
        return f"OwnerKey({self.access_key})"


def ensure_credentials(home: Home, port: int) -> OwnerKey:
    """The owner's key, created at the first call; every call writes the port to the config file.

    Raises:
        Damaged: the credentials file exists but is unreadable.
    """
    if not home.credentials.exists():
        key = OwnerKey("AKIA" + _random(string.ascii_uppercase + "234567", 16), _random(_SECRET_LETTERS, 40))
        write_private(
            home.credentials,
            f"[default]\naws_access_key_id = {key.access_key}\naws_secret_access_key = {key.secret}\n",
        )
    write_private(
        home.config,
        f"[default]\nregion = {REGION}\nendpoint_url = {endpoint(port)}\noutput = json\n"
        "disable_host_prefix_injection = true\n",
    )
    key = read_key(home)
    copy_content(home.credentials)
    return key


def read_key(home: Home) -> OwnerKey:
    """The owner's key from the credentials file.

    Raises:
        Damaged: the file lacks it.
    """
    return read_state(home.credentials, _owner_key, "the owner's AWS key", "skylift up makes a new one.")


def _owner_key(text: str) -> OwnerKey:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(str(error).replace("\n", " ")) from error
    profile = parser["default"]
    return OwnerKey(profile["aws_access_key_id"], profile["aws_secret_access_key"])


def master_key(home: Home) -> bytes:
    """32 bytes from which containers' session credentials are derived; created at the first call.

    Raises:
        Damaged: the file exists, but has no such key.
    """
    if not home.master_key.exists():
        write_private(home.master_key, secrets.token_hex(32))
    key = read_state(home.master_key, _master_key, "the key from which containers' credentials are derived", _NO_MASTER)
    copy_content(home.master_key)
    return key


def usable_master_key(home: Home) -> tuple[bytes, Damage | None]:
    """The key; when its file is damaged, a key for this process only, and the damage."""
    try:
        return master_key(home), None
    except Damaged as error:
        return secrets.token_bytes(32), error.damage


def _master_key(text: str) -> bytes:
    key = bytes.fromhex(text.strip())
    if len(key) < 32:
        raise ValueError("it has less than 32 bytes")
    return key


_NO_MASTER = "Containers that run now lose their AWS credentials then; new ones get good ones."

_SECRET_LETTERS = string.ascii_letters + string.digits


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
