"""Layers of options: the common section, the team's, an entry of ``[skylift] queues``. Each overrides those before it.

In every layer the options with their own names override the arguments of RunTask or SubmitJob (``run_task_kwargs``,
``submit_job_kwargs``). So whatever a queue sets, in either way, overrides everything in the section.
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
    """One layer.

    Attributes:
        options: its options.
        hidden: its arguments do not count, because the team has its own.
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
        entry: the options in a queue's entry; ``None``: no queue.
        arguments: the setting with arguments. A team's own replaces the common one, like any option.
    """
    *below, top = options.layers()
    layers = [*(Layer(one, hidden=top.said(arguments)) for one in below), Layer(top)]
    return layers if entry is None else [*layers, Layer(Options(Only(entry), section, exact=True))]
