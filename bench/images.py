"""What an image and PostgreSQL cost: `python bench/images.py` prints one JSON object; times in seconds, sizes in MB.

Downloads everything once (about 150 MB) into a cache of its own, in a temporary folder that is removed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from skylift.localcloud.images.built import BuiltImage, BuiltImages
from skylift.localcloud.postgres.server import Postgres, postmaster

REFERENCE = "skylift/airflow:3.3.2"


def main() -> None:
    """Measures and prints."""
    home = Path(tempfile.mkdtemp(prefix="skylift-bench-"))
    try:
        figures = {"image": image_figures(home), "postgres": postgres_figures(home)}
    finally:
        Postgres(home).stop()
        shutil.rmtree(home)
    print(json.dumps(figures, indent=2))


def image_figures(home: Path) -> dict[str, float]:
    """Build times with nothing, with uv's cache, and with the base; size, files, and start times of the image."""
    environ = {name: value for name, value in os.environ.items() if name != "UV_CACHE_DIR"}
    images = BuiltImages(home, home / "cache", environ=environ)
    cold = seconds(lambda: images.build(REFERENCE, lambda _: None))
    shutil.rmtree(images.folder)
    warm = seconds(lambda: images.build(REFERENCE, lambda _: None))
    image = images.build(REFERENCE, lambda _: None)
    shutil.rmtree(image.root)
    again = seconds(lambda: images.build(REFERENCE, lambda _: None))
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        "build, empty cache": cold,
        "build, uv's cache full": warm,
        "build, only skylift changed": again,
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6),
        "files": len(files),
        "import airflow": run_in(image, home, "python", "-c", "import airflow"),
        "import airflow.sdk": run_in(image, home, "python", "-c", "import airflow.sdk"),
        "airflow version": run_in(image, home, "airflow", "version"),
        "airflow db migrate (sqlite)": run_in(image, home, "airflow", "db", "migrate"),
    }


def postgres_figures(home: Path) -> dict[str, float]:
    """First start (with initdb), later start, start after kill -9, stop, and idle memory (PSS)."""
    server = Postgres(home)
    first = seconds(server.start)
    found = postmaster.find(server.data)
    assert found is not None
    process = psutil.Process(found.pid)
    memory = sum(one.memory_full_info().pss for one in [process, *process.children()])
    process.kill()
    after_kill = seconds(server.start)
    stop = seconds(server.stop)
    return {
        "first start": first,
        "start": seconds(server.start),
        "start after kill -9": after_kill,
        "stop": stop,
        "idle PSS, megabytes": round(memory / 1e6, 1),
    }


def run_in(image: BuiltImage, home: Path, *command: str) -> float:
    """Wall time of a command in the image, the second time."""
    program = image.executable(command[0])
    environ = {**image.environment, "HOME": str(home), "AIRFLOW_HOME": str(home), "LANG": "C.UTF-8"}

    def run() -> None:
        subprocess.run([str(program), *command[1:]], env=environ, cwd=home, check=True, capture_output=True)

    run()
    return seconds(run)


def seconds(action: Callable[[], object]) -> float:
    """Wall time of a call."""
    before = time.monotonic()
    action()
    return round(time.monotonic() - before, 2)


if __name__ == "__main__":
    main()
