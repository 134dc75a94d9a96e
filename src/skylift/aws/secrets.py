"""The Secrets Manager calls of the control plane. Values are never put into messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of


@dataclass(frozen=True)
class Secret:
    """A secret as it stands. ``value`` is kept out of ``repr``."""

    arn: str
    version: str
    value: Mapping[str, str] = field(repr=False)


class Secrets:
    """Secrets whose value is a flat JSON object. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._secrets = client("secretsmanager", region=region)

    def read(self, name: str) -> Secret | None:
        """A secret by name or ARN, or None when it is not there."""
        with calling(f"secretsmanager GetSecretValue {name}"):
            try:
                answer = self._secrets.get_secret_value(SecretId=name)
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return None
                raise
        value = {str(key): str(one) for key, one in json.loads(answer["SecretString"]).items()}
        return Secret(str(answer["ARN"]), str(answer["VersionId"]), value)

    def write(self, name: str, value: Mapping[str, str]) -> Secret:
        """Makes a secret, or gives it a new value."""
        text = json.dumps(dict(value), sort_keys=True)
        with calling(f"secretsmanager CreateSecret {name}"):
            try:
                answer = self._secrets.create_secret(Name=name, SecretString=text)
            except ClientError as error:
                if code_of(error) != "ResourceExistsException":
                    raise
                answer = self._secrets.put_secret_value(SecretId=name, SecretString=text)
        return Secret(str(answer["ARN"]), str(answer["VersionId"]), dict(value))

    def delete(self, name: str) -> None:
        """Deletes a secret at once; one that is not there is no error."""
        with calling(f"secretsmanager DeleteSecret {name}"):
            try:
                self._secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise
