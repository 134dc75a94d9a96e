"""Secrets of an environment: Airflow's own keys, created once and never changed, and the user's sensitive options."""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence

from skylift.aws.secrets import Secret, SecretsManager
from skylift.control import airflow_config
from skylift.control.api.tokens import TokenSigner
from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext
from skylift.control.plan import PartPhase, Seen


class SecretParts:
    """Parts of kind SECRETS."""

    def __init__(self, store: SecretsManager) -> None:
        self._store = store
        self._signer = TokenSigner(store, time.time)

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        """See ``Parts``. Existing keys stay: data encrypted with them must stay readable."""
        if self._store.read(keys_name(context.spec.name)) is None:
            self._store.write(keys_name(context.spec.name), new_keys())
        self._signer.make_key()
        options, name = airflow_config.user_options(context), options_name(context.spec.name)
        if options:
            serving = context.fact("secrets.options_version")
            if serving and self._store.read(name, serving) is not None:
                # The old value becomes the previous version and is kept: running containers may have to start again
                # with it.
                self._store.make_current(name, serving)
            self._store.write(name, options)
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        self._store.delete(options_name(context.spec.name))
        self._store.delete(values_name(context.spec.name))
        self._store.delete(f"skylift/{context.spec.name}/admin-password")  # of an earlier skylift
        self._store.delete(keys_name(context.spec.name))

    def _look(self, context: PartContext) -> Seen:
        keys = self._store.read(keys_name(context.spec.name))
        if keys is None:
            return Seen(PartPhase.ABSENT)
        token_key = self._signer.public_key()
        if not token_key:
            return Seen(PartPhase.DIFFERENT)
        facts = {"secrets.airflow": keys.arn, "secrets.token_key": token_key}
        wanted = airflow_config.user_options(context)
        if wanted:
            options = self._options(context, wanted)
            if options is None:
                return Seen(PartPhase.DIFFERENT, facts, "the options are not as wanted")
            facts |= {"secrets.options": options.arn, "secrets.options_version": options.version}
        return Seen(PartPhase.READY, facts)

    def _options(self, context: PartContext, wanted: Mapping[str, str]) -> Secret | None:
        """The version in use, otherwise the current one, if its value is as wanted."""
        name = options_name(context.spec.name)
        for version in dict.fromkeys((context.fact("secrets.options_version"), "")):
            found = self._store.read(name, version)
            if found is not None and dict(found.value) == wanted:
                return found
        return None


def keys_name(environment: str) -> str:
    """Name of the secret with fernet_key, jwt_secret and api_secret_key."""
    return f"skylift/{environment}/airflow"


def values_name(environment: str) -> str:
    """Name of the secret with the values of skylift.toml and .env; the command line makes it."""
    return f"skylift/{environment}/environment"


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
