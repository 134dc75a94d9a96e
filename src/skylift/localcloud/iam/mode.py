"""Whether the local cloud enforces IAM's policies: the setting. Light, because the command line reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skylift.core.settings import Setting


class IamMode(StrEnum):
    """What the local cloud does with IAM's policies."""

    OFF = "off"
    OBSERVE = "observe"
    ENFORCE = "enforce"


@dataclass(frozen=True)
class IamChoice:
    """What a local cloud is started with.

    Attributes:
        administrators: ids of access keys that may do everything: the owner's.
    """

    mode: IamMode = IamMode.OFF
    administrators: frozenset[str] = frozenset()


def _mode(text: str) -> IamMode:
    try:
        return IamMode(text.strip().lower())
    except ValueError:
        raise ValueError(f"expected {', '.join(IamMode)}") from None


IAM_MODE: Setting[IamMode] = Setting(
    "iam",
    _mode,
    IamMode.OFF,
    "What the local cloud does with IAM's policies: off (every valid key may do everything), observe (note who does "
    "what, for skylift iam-policy --observed), enforce (refuse what the policies do not allow).",
)
