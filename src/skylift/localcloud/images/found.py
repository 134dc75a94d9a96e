"""Images as the local cloud finds them: first those that people named, then those that skylift builds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from skylift.core.errors import Refused
from skylift.localcloud.damage import Damage, Damaged
from skylift.localcloud.images.build import link_python
from skylift.localcloud.images.built import SYSTEM_PATH, BuiltImage, site_of
from skylift.localcloud.images.network import network_variables
from skylift.localcloud.images.registry import ImageRegistry, NamedImage, checked_image, has_python
from skylift.localcloud.ports import Image as AnyImage
from skylift.localcloud.ports import Images


class LocalImages:
    """Named images first.

    Args:
        others: used for every other reference.
        home: ``$SKYLIFT_HOME``, whose registry is read; ``None``: none.
        named: more images by reference; they come first.
        environ: the machine's environment; containers get only its network variables.

    Raises:
        Refused: one of ``named`` has no ``bin/python``.
    """

    asks = False
    """Once found, an image does not change."""

    def __init__(
        self,
        others: Images,
        home: Path | None,
        named: Mapping[str, NamedImage] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._others = others
        self._home = home
        self._registry = ImageRegistry(home) if home is not None else None
        self._named = {reference: checked_image(reference, image) for reference, image in (named or {}).items()}
        self._environ = environ

    def damage(self) -> Damage | None:
        """What is wrong with the record of named images; skylift's own images do not need it."""
        try:
            self._find("")
        except Damaged as error:
            return error.damage
        return None

    def find(self, reference: str) -> AnyImage | None:
        """The image, when it is there already."""
        try:
            named = self._find(reference)
        except Damaged:
            named = None
        if named is None:
            return self._others.find(reference)
        return self._image(reference, named) if has_python(named) else None

    def build(self, reference: str, progress: Callable[[str], None]) -> AnyImage:
        """Like ``Images.build``. Raises ``Refused`` for a named image whose folder is gone."""
        try:
            named = self._find(reference)
        except Damaged as error:
            try:
                return self._others.build(reference, progress)
            except Refused:
                raise Refused(f"CannotPullContainerError: {reference}: {error}") from error
        if named is None:
            return self._others.build(reference, progress)
        if not has_python(named):
            raise Refused(f"CannotPullContainerError: {reference}: {named.root} has no bin/python any more.")
        return self._image(reference, named)

    def _find(self, reference: str) -> NamedImage | None:
        found = self._named.get(reference)
        if found is not None or self._registry is None:
            return found
        return self._registry.all().get(reference)

    def _base_python(self, named: NamedImage) -> list[str]:
        """The folder with the Python under a named image, as ours have one; its own folder is its owner's."""
        if self._home is None:
            return []
        folder = self._home / "cache" / "pythons" / hashlib.sha256(str(named.root).encode()).hexdigest()[:16]
        return [str(link_python(named.root / "bin" / "python", folder))]

    def _image(self, reference: str, named: NamedImage) -> BuiltImage:
        environment = {
            "PATH": ":".join([str(named.root / "bin"), *self._base_python(named), SYSTEM_PATH]),
            "VIRTUAL_ENV": str(named.root),
            **site_of(named.root),
            **network_variables(self._environ),
            **named.environment,
        }
        return BuiltImage(reference, named.root, (), ("python",), environment, template="")
