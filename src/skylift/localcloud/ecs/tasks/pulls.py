"""Gets images for ECS tasks; several that wait for the same image share its build."""

from __future__ import annotations

import asyncio
import logging

from skylift.core.errors import SkyliftError
from skylift.localcloud.ports import Image, Images

_log = logging.getLogger(__name__)


class CannotPull(Exception):
    """The image is not available; the text is ECS's reason."""


class Pulls:
    """Images by reference."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._known: set[str] = set()
        self._builds: dict[str, asyncio.Task[Image]] = {}

    async def get(self, reference: str) -> Image:
        """The image, built in a worker thread if it does not exist. Cancelling this does not stop the build for others.

        Raises:
            CannotPull: the name is unknown, or the build failed.
        """
        try:
            found = await self._find(reference)
            return found if found is not None else await asyncio.shield(self._build(reference))
        except SkyliftError as error:
            raise CannotPull(_reason(reference, str(error))) from error

    async def _find(self, reference: str) -> Image | None:
        """The first search reads lock files and sources, so not on the event loop."""
        if reference in self._known and not self._images.asks:
            return self._images.find(reference)
        found = await asyncio.to_thread(self._images.find, reference)
        if found is not None:
            self._known.add(reference)
        return found

    def progress(self) -> list[str]:
        """References of the images that are being built."""
        return sorted(self._builds)

    def _build(self, reference: str) -> asyncio.Task[Image]:
        if reference not in self._builds:
            build = asyncio.create_task(asyncio.to_thread(self._images.build, reference, _log.info))
            self._builds[reference] = build
            build.add_done_callback(lambda done: self._builds.pop(reference, None) and done.exception())
        return self._builds[reference]


def _reason(reference: str, text: str) -> str:
    """ECS's text for Fargate: "CannotPullContainerError: pull image manifest has been retried 1 time(s): ..."."""
    text = text.removeprefix("CannotPullContainerError: ")
    return (
        f"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
        f"{reference}: {text}"
    )
