"""A mapping whose values stay text until somebody asks for them, so that a long history costs little at start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Generic, TypeVar

T = TypeVar("T")


class LazyMapping(MutableMapping[str, T], Generic[T]):
    """Like a dict, in insertion order; ``parse`` makes a value from its text, once."""

    def __init__(self, parse: Callable[[str], T]) -> None:
        self._parse = parse
        self._ready: dict[str, T] = {}
        self._texts: dict[str, str] = {}
        self._keys: dict[str, None] = {}

    def put_text(self, key: str, text: str) -> None:
        """A value that is not needed yet."""
        self._keys[key] = None
        self._texts[key] = text

    def __getitem__(self, key: str) -> T:
        if key in self._texts:
            self._ready[key] = self._parse(self._texts.pop(key))
        return self._ready[key]

    def __setitem__(self, key: str, value: T) -> None:
        self._keys[key] = None
        self._texts.pop(key, None)
        self._ready[key] = value

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        self._texts.pop(key, None)
        self._ready.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
