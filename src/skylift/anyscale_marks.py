"""Airflow plugin: an Airflow task of Anyscale that is marked failed, success or skipped while it waits ends its job.

Airflow 3.3 tells a trigger of it, once the triggerer runs that trigger; 3.1 and 3.2 tell none. But the API server, in
which somebody marks the Airflow task, tells listeners of it. Every process of Airflow loads this module, so it imports
nothing of ``skylift.anyscale`` until it is needed.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

_OURS = "skylift.anyscale.triggers."


class MarkListener:
    """Looks for triggers of ours that wait for an Airflow task which was marked."""

    @hookimpl
    def on_task_instance_failed(self, previous_state: object, task_instance: Any) -> None:
        """Somebody marked it, or it failed by itself."""
        _look(previous_state, task_instance)

    @hookimpl
    def on_task_instance_success(self, previous_state: object, task_instance: Any) -> None:
        """Likewise."""
        _look(previous_state, task_instance)

    @hookimpl(optionalhook=True)
    def on_task_instance_skipped(self, previous_state: object, task_instance: Any) -> None:
        """Likewise; Airflow 3.1 has no such hook."""
        _look(previous_state, task_instance)


class AnyscaleMarksPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "skylift_anyscale_marks"
    listeners: ClassVar[list[Any]] = [MarkListener()]


def _look(previous_state: object, task_instance: Any) -> None:
    if previous_state is not None:  # a worker tells of its own Airflow task; only who marks one says None
        return
    waiting = task_instance.trigger
    if waiting is None or not str(waiting.classpath).startswith(_OURS):
        return
    from skylift.anyscale import triggers  # lazy: see above

    trigger = vars(triggers)[waiting.classpath.removeprefix(_OURS)](**waiting.kwargs)
    # Anyscale may take seconds, and the person who marked the Airflow task waits for an answer.
    threading.Thread(target=trigger.undo_now, name="anyscale-marked", daemon=True).start()
