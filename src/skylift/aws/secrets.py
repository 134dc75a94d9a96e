"""The Secrets Manager calls of the control plane. Values are never put into messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of


@dataclass(frozen=True)
class Text:
    """A secret as it stands. ``text`` is kept out of ``repr``."""

    arn: str
    version: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class Secret:
    """A secret whose text is a flat JSON object. ``value`` is kept out of ``repr``."""

    arn: str
    version: str
    value: Mapping[str, str] = field(repr=False)


class SecretsManager:
    """Secrets by name or ARN. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._secrets = client("secretsmanager", region=region)

    def read_text(self, name: str, version: str = "") -> Text | None:
        """A secret (its current version, or the one of an id), or None if it does not exist."""
        which = {"VersionId": version} if version else {}
        with calling(f"secretsmanager GetSecretValue {name}"):
            try:
                answer = self._secrets.get_secret_value(SecretId=name, **which)
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return None
                raise
        return Text(str(answer["ARN"]), str(answer["VersionId"]), str(answer["SecretString"]))

    def read(self, name: str, version: str = "") -> Secret | None:
        """A secret's JSON object (see ``read_text``), or None if it does not exist."""
        found = self.read_text(name, version)
        if found is None:
            return None
        value = {str(key): str(one) for key, one in json.loads(found.text).items()}
        return Secret(found.arn, found.version, value)

    def make_text(self, name: str, text: str) -> bool:
        """Makes a secret; one that exists keeps its value. Returns whether it was made."""
        with calling(f"secretsmanager CreateSecret {name}"):
            try:
                self._secrets.create_secret(Name=name, SecretString=text)
            except ClientError as error:
                if code_of(error) != "ResourceExistsException":
                    raise
                return False
        return True

    def write_text(self, name: str, text: str) -> None:
        """Makes a secret, or gives it a new value."""
        if not self.make_text(name, text):
            with calling(f"secretsmanager PutSecretValue {name}"):
                self._secrets.put_secret_value(SecretId=name, SecretString=text)

    def write(self, name: str, value: Mapping[str, str]) -> None:
        """Makes a secret of a flat JSON object, or gives it a new value."""
        self.write_text(name, json.dumps(dict(value), sort_keys=True))

    def make_current(self, name: str, version: str) -> None:
        """Makes a version the current one (AWSCURRENT), if it is not; the one that was becomes AWSPREVIOUS."""
        with calling(f"secretsmanager UpdateSecretVersionStage {name}"):
            now = self._secrets.get_secret_value(SecretId=name)["VersionId"]
            if now != version:
                self._secrets.update_secret_version_stage(
                    SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=now
                )

    def delete(self, name: str) -> None:
        """Deletes a secret at once; a missing one is not an error."""
        with calling(f"secretsmanager DeleteSecret {name}"):
            try:
                self._secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise
