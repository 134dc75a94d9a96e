"""The image tier's store and image: built once per session, or found in the cache."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest
from tests.image.engine import CannotRun, Store, build_base, build_image, open_store


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """podman with our image. Where podman cannot run, the tests are skipped with the reason; where it must run, they
    fail."""
    try:
        made = open_store()
    except CannotRun as error:
        if os.environ.get("SKYLIFT_IMAGE_TIER") == "required":
            raise
        pytest.skip(f"podman does not run here: {error}")
    with (made.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one session at a time uses the store
        made.engine.run_now("rm", "--all", "--force")  # left by a killed session
        build_image(made, build_base(made))
        yield made
        left = made.engine.run_now("ps", "--all", "--format", "{{.Names}}").out.split()
        made.engine.run_now("rm", "--all", "--force")
        made.engine.run_now("image", "prune", "--force")
        assert not left, f"containers that nobody removed: {left}"
