"""The owner's AWS credentials for the local cloud: made once, kept in AWS's own file format, mode 0600.

They are as real as AWS's: every request to the server is signed with them and checked.
"""

from __future__ import annotations

import configparser
import secrets
import string
from dataclasses import dataclass

from skylift.cli.home import ACCOUNT, REGION, Home, endpoint, write_private
from skylift.core.errors import Refused
from skylift.core.names import arn

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
    """The owner's key, made on the first call; the config file is brought to this port on every call.

    Raises:
        Refused: the credentials file is there but unreadable.
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
    return read_key(home)


def read_key(home: Home) -> OwnerKey:
    """The owner's key from the credentials file.

    Raises:
        Refused: the file lacks it.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(home.credentials)
    try:
        profile = parser["default"]
        return OwnerKey(profile["aws_access_key_id"], profile["aws_secret_access_key"])
    except KeyError as error:
        raise Refused(
            f"{home.credentials} has no key ({error} is missing). Remove the file; skylift up makes a new one."
        ) from error


def master_key(home: Home) -> bytes:
    """32 bytes from which containers' session credentials are derived; made on the first call."""
    if not home.master_key.exists():
        write_private(home.master_key, secrets.token_hex(32))
    return bytes.fromhex(home.master_key.read_text().strip())


_SECRET_LETTERS = string.ascii_letters + string.digits


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
