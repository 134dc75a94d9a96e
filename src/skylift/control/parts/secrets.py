"""Secrets of an environment: Airflow's own keys, made once and never changed, and the user's (sensitive) options."""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence

from skylift.aws.secrets import Secrets
from skylift.control import airflow_config
from skylift.control.blueprint import Part
from skylift.control.plan import Phase, Seen
from skylift.control.scene import Scene


class SecretParts:
    """Parts of kind SECRETS."""

    def __init__(self, store: Secrets) -> None:
        self._store = store

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        return {part.name: self._look(scene) for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``. Keys that are there stay: what is encrypted with them must stay readable."""
        if self._store.read(keys_name(scene.spec.name)) is None:
            self._store.write(keys_name(scene.spec.name), new_keys())
        if self._store.read_text(password_name(scene.spec.name)) is None:
            self._store.write_text(password_name(scene.spec.name), secrets.token_urlsafe(15))
        options = airflow_config.user_options(scene)
        if options:
            self._store.write(options_name(scene.spec.name), options)
        return {}

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``."""
        self._store.delete(options_name(scene.spec.name))
        self._store.delete(password_name(scene.spec.name))
        self._store.delete(keys_name(scene.spec.name))

    def _look(self, scene: Scene) -> Seen:
        keys = self._store.read(keys_name(scene.spec.name))
        password = self._store.read_text(password_name(scene.spec.name))
        if keys is None or password is None:
            return Seen(Phase.DIFFERENT if keys or password else Phase.ABSENT)
        facts = {"secrets.airflow": keys.arn, "secrets.admin_password": password.arn}
        wanted = airflow_config.user_options(scene)
        if wanted:
            options = self._store.read(options_name(scene.spec.name))
            if options is None or dict(options.value) != wanted:
                return Seen(Phase.DIFFERENT, facts, "the options are not as wanted")
            facts |= {"secrets.options": options.arn, "secrets.options_version": options.version}
        return Seen(Phase.READY, facts)


def keys_name(environment: str) -> str:
    """Name of the secret with fernet_key, jwt_secret and api_secret_key."""
    return f"skylift/{environment}/airflow"


def password_name(environment: str) -> str:
    """Name of the secret that is the password of Airflow's user admin, as plain text: people copy it."""
    return f"skylift/{environment}/admin-password"


def options_name(environment: str) -> str:
    """Name of the secret with the user's Airflow options, by environment variable."""
    return f"skylift/{environment}/options"


def new_keys() -> dict[str, str]:
    """Fresh keys. A Fernet key is 32 bytes in URL-safe base64."""
    return {
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "jwt_secret": secrets.token_urlsafe(48),
        "api_secret_key": secrets.token_urlsafe(32),
    }
