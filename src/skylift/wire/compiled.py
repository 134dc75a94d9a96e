"""Functions that are made once per shape of a service's model, even for shapes that contain themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from botocore.model import Shape

F = TypeVar("F", bound=Callable[..., Any])


class Compiled(ABC, Generic[F]):
    """Keeps the function of each shape of one service, by the shape's name."""

    def __init__(self) -> None:
        self._made: dict[str, F] = {}

    def of(self, shape: Shape) -> F:
        """The function of a shape, compiled at first use."""
        name = shape.name
        if name not in self._made:
            self._made[name] = self._later(name)
            try:
                self._made[name] = self._compile(shape)
            except BaseException:
                del self._made[name]  # it would wait for itself for ever
                raise
        return self._made[name]

    def _later(self, name: str) -> F:
        """Stands for a function while it is being compiled."""

        def call(*values: Any) -> Any:
            return self._made[name](*values)

        return cast("F", call)

    @abstractmethod
    def _compile(self, shape: Shape) -> F: ...
