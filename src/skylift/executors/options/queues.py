"""Options that differ from workload to workload: by Airflow's queue (``[skylift] queues``), by lack of capacity (``capacity_fallback``).

Both speak in the words of the executors' own sections, so that nothing new is to be learned, and one map serves ECS and Batch at
once: each executor takes the words of its own section.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

PLACES = ("launch_type", "capacity_provider_strategy")
"""Of these two, one replaces the other."""

FALLBACK_WORDS = (
    *PLACES,
    "platform_version",
    "subnets",
    "security_groups",
    "assign_public_ip",
    "task_definition",
    "job_queue",
    "job_definition",
)
"""What may change when there is no capacity. Not the cluster: a restart looks for its containers there."""

QUEUE_WORDS = (
    *FALLBACK_WORDS,
    "cluster",
    "container_name",
    "run_task_kwargs",
    "job_name",
    "submit_job_kwargs",
    "capacity_fallback",
)
"""What an entry of the map may say. Connection and region are the executor's: they make its clients."""

LAUNCH_TYPES = ("FARGATE", "EC2", "EXTERNAL", "MANAGED_INSTANCES")
Words = dict[str, Any]


def queue_map(text: str) -> dict[str, Words]:
    """Parses ``[skylift] queues``: a JSON object of objects. Raises ``ValueError`` that names queue and word."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError('expected a JSON object, e.g. {"gpu": {"task_definition": "airflow-gpu"}}')
    return {queue: _entry(words, QUEUE_WORDS, f"queue {queue!r}") for queue, words in value.items()}


def fallback_list(text: str) -> list[Words]:
    """Parses ``[skylift] capacity_fallback``. Raises ``ValueError`` that names the entry."""
    return _fallbacks(json.loads(text))


def own_words(words: Words, names: Iterable[str]) -> Words:
    """Those of an entry that one executor understands."""
    return {name: words[name] for name in names if name in words}


class Layered:
    """Airflow's conf, or an executor's, in which some options of one section have other values.

    Args:
        conf: what lies below.
        section: the executor's section.
        words: an entry of the map; options that are JSON in the section are plain values here.
    """

    def __init__(self, conf: Any, section: str, words: Words) -> None:
        self._conf = conf
        self._section = section
        self._texts = {name: _text(value) for name, value in words.items()}
        if any(place in words for place in PLACES):
            self._texts = dict.fromkeys(PLACES, "") | self._texts

    def get(self, section: str, option: str, fallback: Any = None) -> Any:
        """As Airflow's."""
        if section == self._section and option in self._texts:
            return self._texts[option]
        return self._conf.get(section, option, fallback=fallback)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of ``base`` with ``over`` merged into it: dicts recursively, anything else replaces. Neither is changed, no
    part is shared."""
    result = {key: deepcopy(value) for key, value in base.items()}
    for key, value in over.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            # Also where there is nothing below: a dict of another kind (Container) becomes a plain one.
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = deepcopy(value)
    return result


def _fallbacks(value: Any) -> list[Words]:
    if not isinstance(value, list):
        raise ValueError('capacity_fallback: expected a JSON list, e.g. ["FARGATE"]')
    return [_fallback(entry, number) for number, entry in enumerate(value, 1)]


def _fallback(entry: Any, number: int) -> Words:
    if isinstance(entry, str):
        place = {"launch_type": entry} if entry in LAUNCH_TYPES else {"capacity_provider_strategy": _only(entry)}
        return {**place}
    if isinstance(entry, list):
        return {"capacity_provider_strategy": entry}
    return _entry(entry, FALLBACK_WORDS, f"capacity_fallback, entry {number}")


def _only(provider: str) -> list[dict[str, Any]]:
    return [{"capacityProvider": provider, "weight": 1}]


def _entry(words: Any, allowed: Iterable[str], where: str) -> Words:
    if not isinstance(words, dict):
        raise ValueError(f"{where}: expected a JSON object with options")
    for word in words:
        if word not in allowed:
            raise ValueError(f"{where}: {word!r} is none of {', '.join(sorted(allowed))}")
    if all(words.get(place) for place in PLACES):
        raise ValueError(f"{where}: launch_type and capacity_provider_strategy exclude each other")
    if "capacity_fallback" in words:
        return {**words, "capacity_fallback": _fallbacks(words["capacity_fallback"])}
    return dict(words)


def _text(value: Any) -> str:
    """The value as it would stand in the section."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return json.dumps(value)
