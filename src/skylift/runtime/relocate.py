"""Replaces the template's folders, which imported modules have stored, with the container's folders.

Modules keep paths that they made from HOME and AIRFLOW_HOME at import. The name of the template's HOME occurs nowhere
else, so all such strings can be found in memory, once, before the first fork.
"""

from __future__ import annotations

import gc
import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, FunctionType
from typing import Any

_UNLISTED = (dict, tuple)


class CannotRelocate(Exception):
    """A path is stored where it cannot be changed; the text says which."""


@dataclass(frozen=True)
class PathRef:
    """One stored path: item ``key`` of a dict or list, or the attribute ``key`` of anything else."""

    owner: Any
    key: Any
    value: str | tuple[Any, ...]

    def put(self, value: str | tuple[Any, ...]) -> None:
        """Replaces it."""
        if isinstance(self.owner, dict | list):
            self.owner[self.key] = value
        else:
            setattr(self.owner, self.key, value)


@dataclass(frozen=True)
class PathRefs:
    """All stored paths below a folder."""

    folder: str
    refs: tuple[PathRef, ...]

    def move(self, airflow_home: str, home: str) -> None:
        """Moves them to the container's folders; the template's AIRFLOW_HOME is ``airflow`` below its HOME."""

        def moved(value: Any) -> Any:
            if not isinstance(value, str):
                return value
            return value.replace(f"{self.folder}/airflow", airflow_home).replace(self.folder, home)

        for ref in self.refs:
            one = ref.value
            ref.put(tuple(moved(part) for part in one) if isinstance(one, tuple) else moved(one))


def find(folder: str) -> PathRefs:
    """Every string in memory that contains ``folder`` (whose last part must be unique in the whole program).

    Raises:
        CannotRelocate: one is where it cannot be replaced, e.g. in a tuple.
    """
    urllib.parse.clear_cache()  # type: ignore[attr-defined]  # typeshed does not know it; it keeps what it split
    gc.collect()  # this also stops listing tuples of plain values: they are found through their owners
    name = os.path.basename(folder)
    everything = gc.get_objects()
    # type() and not isinstance(): lazy proxies would import what they stand for when asked for their class.
    classes = [one for one in everything if issubclass(type(one), type)]
    of_classes = {id(part) for one in classes for part in gc.get_referents(one) if type(part) is dict}
    refs: list[PathRef] = []
    for one in everything:
        if id(one) not in of_classes:
            refs.extend(_inside(one, name))
    return PathRefs(folder, tuple(refs))


def _inside(one: Any, name: str) -> Iterator[PathRef]:
    """The refs in one object, and in its values that the collector does not list (a dict or tuple of plain values)."""
    if type(one) is FunctionType:  # default values of parameters, made at import
        if any(type(part) is str and name in part for part in one.__defaults__ or ()):
            yield PathRef(one, "__defaults__", one.__defaults__ or ())
        return
    if issubclass(type(one), type):
        yield from (
            PathRef(one, key, value) for key, value in vars(one).items() if type(value) is str and name in value
        )
        return
    parts = one.values() if type(one) is dict else gc.get_referents(one)
    hit = False
    for part in parts:
        if type(part) is str:
            hit = hit or name in part
        elif type(part) in _UNLISTED and not gc.is_tracked(part):
            yield from _inside(part, name)
    if hit and not isinstance(one, FrameType):
        yield from _refs(one, name)


def _refs(one: Any, name: str) -> Iterator[PathRef]:
    if isinstance(one, dict):
        pairs = list(one.items())
    elif isinstance(one, list):
        pairs = list(enumerate(one))
    else:
        pairs = list(getattr(one, "__dict__", {}).items())
    hits = [PathRef(one, key, value) for key, value in pairs if type(value) is str and name in value]
    if not hits:
        raise CannotRelocate(f"a path below HOME is in {type(one)}: {one!r:.200}")
    yield from hits
