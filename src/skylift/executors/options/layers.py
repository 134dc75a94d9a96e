"""Layers of options: everybody's section, the team's, an entry of ``[skylift] queues``; each goes over those before it.

In every layer the arguments of RunTask or SubmitJob (``run_task_kwargs``, ``submit_job_kwargs``) lie below the options
that have names of their own; so what a queue says in either way goes before all that the section says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skylift.core.errors import Refused
from skylift.core.settings import Setting
from skylift.executors.options.queues import Only, Words
from skylift.executors.options.settings import Options


@dataclass(frozen=True)
class Layer:
    """What one place says.

    Attributes:
        options: its options.
        hidden: its arguments do not count: the team has some of its own.
    """

    options: Options
    hidden: bool = False

    def says(self, setting: Setting[Any]) -> bool:
        """Whether it sets an option."""
        return self.options.said(setting)

    def arguments(
        self, checked: Callable[[dict[str, Any]], dict[str, Any]], setting: Setting[dict[str, Any]]
    ) -> dict[str, Any]:
        """Its arguments of RunTask or SubmitJob, in AWS's spelling. Raises ``Refused``, which names the option."""
        if self.hidden or not self.says(setting):
            return {}
        try:
            return checked(self.options[setting])
        except ValueError as error:
            raise Refused(f"{self.options.name(setting)}: {error}") from error


def layers_of(options: Options, section: str, entry: Words | None, arguments: Setting[dict[str, Any]]) -> list[Layer]:
    """The layers, the lowest first.

    Args:
        options: the section's, of a team or of all.
        section: their section.
        entry: the words of a queue's entry; ``None``: no queue's.
        arguments: the setting with arguments. A team's own replaces everybody's, as with any option.
    """
    *below, top = options.layers()
    layers = [*(Layer(one, hidden=top.said(arguments)) for one in below), Layer(top)]
    return layers if entry is None else [*layers, Layer(Options(Only(entry), section, exact=True))]
