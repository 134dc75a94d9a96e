"""Options that differ between workloads: by Airflow's queue (``[skylift] queues``), and for lack of capacity
(``capacity_fallback``).

Both use the option names of the executors' own sections, so there is nothing new to learn. One map serves ECS and
Batch: each executor uses the options of its own section.
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

FARGATE_SPOT = "FARGATE_SPOT"

TEXTS = ("platform_version", "task_definition", "job_queue", "job_definition", "cluster", "container_name", "job_name")
LISTS = ("subnets", "security_groups")
OBJECTS = ("run_task_kwargs", "submit_job_kwargs")

NEVER_EMPTY = ("task_definition", "container_name", "job_queue", "job_definition")
"""Of the other words, an empty one takes the section's value away."""

Words = dict[str, Any]


def launch_type(text: str) -> str:
    """Parses a launch type. Raises ``ValueError`` that says what to write instead."""
    if text in LAUNCH_TYPES:
        return text
    if text.upper() in LAUNCH_TYPES:
        raise ValueError(f"write {text.upper()}")
    if "SPOT" in text.upper():
        raise ValueError(
            "Spot is a capacity provider: leave launch_type out, and set capacity_provider_strategy = "
            '[{"capacityProvider": "FARGATE_SPOT", "weight": 1}]'
        )
    raise ValueError(
        f"expected one of {', '.join(LAUNCH_TYPES)}; a capacity provider goes to capacity_provider_strategy"
    )


def queue_map(text: str) -> dict[str, Words]:
    """Parses ``[skylift] queues``: a JSON object of objects. Raises ``ValueError`` that names queue and option."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError('expected a JSON object, e.g. {"gpu": {"task_definition": "airflow-gpu"}}')
    return {queue: _entry(words, QUEUE_WORDS, f"queue {queue!r}") for queue, words in value.items()}


def fallback_list(text: str) -> list[Words]:
    """Parses ``[skylift] capacity_fallback``. Raises ``ValueError`` that names the entry."""
    return _fallbacks(json.loads(text))


def own_words(words: Words, names: Iterable[str]) -> Words:
    """The options of an entry that one executor understands."""
    return {name: words[name] for name in names if name in words}


class Only:
    """Replaces Airflow's conf, with the options of one entry only.

    Args:
        words: an entry of the map; options that are JSON in the section are plain values here.
    """

    def __init__(self, words: Words) -> None:
        self._texts = {name: _text(value) for name, value in words.items()}

    def get(self, section: str, option: str, fallback: Any = None) -> Any:  # noqa: ARG002  an entry is of one section
        """Like Airflow's."""
        return self._texts.get(option, fallback)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of ``base`` with ``over`` merged into it: dicts recursively, any other value replaces. Changes
    neither, and shares no part with them."""
    result = {key: deepcopy(value) for key, value in base.items()}
    for key, value in over.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            # Even if ``base`` has nothing there: a dict subclass (Container) becomes a plain dict.
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = deepcopy(value)
    return result


def _fallbacks(value: Any) -> list[Words]:
    if not isinstance(value, list):
        raise ValueError('capacity_fallback: expected a JSON list, e.g. ["FARGATE"]')
    return [_fallback(entry, number) for number, entry in enumerate(value, 1)]


def _fallback(entry: Any, number: int) -> Words:
    where = f"capacity_fallback, entry {number}"
    if isinstance(entry, str):
        if not entry.strip():
            raise ValueError(f"{where}: it is empty")
        if entry not in (*LAUNCH_TYPES, FARGATE_SPOT) and entry.upper() in (*LAUNCH_TYPES, FARGATE_SPOT):
            raise ValueError(f"{where}: {entry!r}: write {entry.upper()}")
        return {"launch_type": entry} if entry in LAUNCH_TYPES else {"capacity_provider_strategy": _only(entry)}
    if isinstance(entry, list):
        return {"capacity_provider_strategy": _checked("capacity_provider_strategy", entry, where)}
    return _entry(entry, FALLBACK_WORDS, where)


def _only(provider: str) -> list[dict[str, Any]]:
    return [{"capacityProvider": provider, "weight": 1}]


def _entry(words: Any, allowed: Iterable[str], where: str) -> Words:
    if not isinstance(words, dict):
        raise ValueError(f"{where}: expected a JSON object with options")
    for word, value in words.items():
        if word not in allowed:
            raise ValueError(f"{where}: {word!r} is none of {', '.join(sorted(allowed))}")
        _checked(word, value, where)
    if all(words.get(place) for place in PLACES):
        raise ValueError(f"{where}: launch_type and capacity_provider_strategy exclude each other")
    if "capacity_fallback" in words:
        return {**words, "capacity_fallback": _fallbacks(words["capacity_fallback"])}
    return dict(words)


def _checked(word: str, value: Any, where: str) -> Any:
    """The value of an option. Raises ``ValueError`` for a wrong type."""
    if value is None:
        raise ValueError(
            f"{where}: {word} is null: leave it out (then the section's own value holds), or give it a value"
        )
    expected = _EXPECTED[word]
    if not any(fits(value) for fits in _KINDS[expected]):
        raise ValueError(f"{where}: {word} must be {expected}")
    if word in NEVER_EMPTY and not value.strip():
        raise ValueError(f"{where}: {word} is empty: leave it out (then the section's own value holds), or name one")
    if word == "launch_type" and value:
        try:
            launch_type(value)
        except ValueError as error:
            raise ValueError(f"{where}: {word} {value!r} cannot be used: {error}") from error
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list_of(kind: type) -> Any:
    return lambda value: isinstance(value, list) and all(isinstance(one, kind) for one in value)


_KINDS: dict[str, tuple[Any, ...]] = {
    "text": (_is_text,),
    'a list of text, e.g. ["subnet-1", "subnet-2"]': (_is_text, _is_list_of(str)),
    "true or false": (_is_text, lambda value: isinstance(value, bool)),
    'a list of objects, e.g. [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]': (_is_text, _is_list_of(dict)),
    "a JSON object": (lambda value: isinstance(value, dict),),
    'a JSON list, e.g. ["FARGATE"]': (lambda value: isinstance(value, list),),
}
_TEXT, _LIST, _FLAG, _STRATEGY, _OBJECT, _FALLBACKS = _KINDS
_EXPECTED = {
    **dict.fromkeys((*TEXTS, "launch_type"), _TEXT),
    **dict.fromkeys(LISTS, _LIST),
    **dict.fromkeys(OBJECTS, _OBJECT),
    "assign_public_ip": _FLAG,
    "capacity_provider_strategy": _STRATEGY,
    "capacity_fallback": _FALLBACKS,
}


def _text(value: Any) -> str:
    """The value as it would be written in the section."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return json.dumps(value)
