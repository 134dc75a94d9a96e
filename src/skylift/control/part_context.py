"""What the parts' verbs get: one environment's identity, spec and known facts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from skylift.control.settings import ControlSettings
from skylift.core.environment import Spec
from skylift.core.names import arn
from skylift.core.secrecy import hide_in, secrets_of


@dataclass(frozen=True)
class PartContext:
    """One environment, as the parts see it.

    Attributes:
        incarnation: tells two environments apart that had the same name one after the other (creation time).
        facts: what earlier passes have recorded, by ``part.fact`` name. Never a secret.
        leaving: the environment is being deleted: ``observe`` asks what is left of it.
        served: Spec and facts from before the update under way; None if there is none.
        generation: counts what was asked for; what failed for one may be tried again for the next.
        keeps: nobody has asked for a change: what serves stays as it was described, also by an older skylift.
    """

    spec: Spec
    settings: ControlSettings
    incarnation: str
    facts: Mapping[str, str] = field(default_factory=dict)
    leaving: bool = False
    served: tuple[Spec, Mapping[str, str]] | None = None
    generation: int = 1
    keeps: bool = False

    def fact(self, name: str) -> str:
        """A fact; empty when it is not known yet."""
        return self.facts.get(name, "")

    def before(self) -> PartContext | None:
        """The environment as it was before the update under way, or None."""
        if self.served is None:
            return None
        spec, facts = self.served
        return replace(self, spec=spec, facts=facts, served=None)

    def hide(self, text: str) -> str:
        """A text without the values of the user's options that look like secrets: containers may print them in their
        last lines."""
        return hide_in(text, secrets_of(self.spec.options))

    def token(self, *more: str) -> str:
        """A client token (64 hexadecimal characters) for one action in this environment's life."""
        return digest(environment_arn(self.spec.name, self.settings), self.incarnation, *more)


def environment_arn(name: str, settings: ControlSettings) -> str:
    """``arn:aws:airflow:{region}:{account}:environment/{name}``, in the region's partition."""
    return arn("airflow", settings.region, settings.account, f"environment/{name}")


def digest(*words: str) -> str:
    """Sha-256 of words, unambiguous about where one ends."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def short_name(name: str, prefix: str, most: int, lower: bool = False) -> str:
    """``prefix`` + ``name``, cut to ``most`` characters with a digest when it is longer or had to be changed."""
    word = re.sub(r"[^0-9a-zA-Z-]", "-", name).strip("-")
    word = word.lower() if lower else word
    if prefix + word == prefix + name and len(prefix + word) <= most:
        return prefix + word
    return f"{prefix}{word[: most - len(prefix) - 9].strip('-')}-{digest(name)[:8]}"


def batch_place(environment: str) -> str:
    """Name of an environment's Batch compute environment, job queue and job definition: at most 128 characters."""
    return short_name(f"{environment}-task", "skylift-", 128)


def broker_queue(environment: str) -> str:
    """Name of the SQS queue of an environment's Celery workers: at most 80 characters."""
    return short_name(f"{environment}-celery", "skylift-", 80)


def service_log_group(environment: str) -> str:
    """Our own log group of an environment: one-off ECS tasks, and components whose module the user has switched off."""
    return f"/skylift/{environment}"
