"""Images that people name themselves: a reference means a virtual environment on this machine.

They are in one JSON file, ``$SKYLIFT_HOME/images/named.json``. It is read each time, so that a running server sees what
a command adds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skylift.core.errors import Refused
from skylift.localcloud.damage import json_object, read_state
from skylift.localcloud.state_file import write_file

_REFERENCE = re.compile(r"[a-z0-9][a-zA-Z0-9._/:@-]{0,254}")


@dataclass(frozen=True)
class NamedImage:
    """What an image's name means.

    Attributes:
        root: folder of a virtual environment; ``sys.prefix`` is this Python's.
        environment: variables that the image gives to every container, e.g. ``PYTHONPATH`` of a checkout.
    """

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class ImageRegistry:
    """The named images of one ``$SKYLIFT_HOME``."""

    def __init__(self, home: Path) -> None:
        self._file = home / "images" / "named.json"

    def all(self) -> dict[str, NamedImage]:
        """The images by reference.

        Raises:
            Damaged: the file cannot be read.
        """
        try:
            return read_state(
                self._file, _images, "the images that you have named", "Add your images again after that."
            )
        except FileNotFoundError:
            return {}

    def add(self, reference: str, image: NamedImage) -> NamedImage:
        """Names a virtual environment; replaces what had the name. Returns it with its absolute path.

        Raises:
            Refused: the reference is not valid, or the folder has no ``bin/python``.
        """
        checked = checked_image(reference, image)
        self._write(self.all() | {reference: checked})
        return checked

    def remove(self, reference: str) -> None:
        """Forgets a name; its folder stays. Raises ``Refused``: no image has it."""
        known = self.all()
        if known.pop(reference, None) is None:
            raise Refused(f"there is no image {reference} of yours; see skylift image list")
        self._write(known)

    def _write(self, images: Mapping[str, NamedImage]) -> None:
        written = {
            reference: {"root": str(image.root), "environment": dict(image.environment)}
            for reference, image in images.items()
        }
        write_file(self._file, (json.dumps(written, indent=2) + "\n").encode(), copy=True)


def _images(text: str) -> dict[str, NamedImage]:
    found = json_object(text)
    return {reference: NamedImage(Path(one["root"]), dict(one["environment"])) for reference, one in found.items()}


def checked_image(reference: str, image: NamedImage) -> NamedImage:
    """The image with its absolute path, if reference and folder are valid. Raises ``Refused``."""
    if not _REFERENCE.fullmatch(reference):
        raise Refused(f"{reference!r} is not an image reference; it looks like my/app:1 or registry/my/app:1")
    if not has_python(image):
        raise Refused(
            f"{image.root} has no bin/python: an image here is a virtual environment. "
            f"Make one with: python -m venv {image.root}"
        )
    return NamedImage(image.root.absolute(), image.environment)


def has_python(image: NamedImage) -> bool:
    """Whether containers could start from it."""
    return (image.root / "bin" / "python").exists()
