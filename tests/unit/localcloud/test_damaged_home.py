"""Every small file of a home that skylift reads, damaged in each way: named with what to do, and left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skylift.cli.credentials import ensure_credentials, master_key, read_key, usable_master_key
from skylift.cli.home import Home, read_json
from skylift.cli.projects.buckets import followed
from skylift.cli.serving.daemon import last_port
from skylift.localcloud.damage import Damaged
from skylift.localcloud.images.found import LocalImages
from skylift.localcloud.images.registry import ImageRegistry
from skylift.localcloud.ports import Image
from skylift.localcloud.postgres.server import Postgres

pytestmark = pytest.mark.unit

READERS: dict[str, Callable[[Home], object]] = {
    "aws/master.key": master_key,
    "aws/credentials": read_key,
    "aws/config": last_port,
    "projects.json": followed,
    "server.json": lambda home: read_json(home.server_file),
    "images/named.json": lambda home: ImageRegistry(home.folder).all(),
    "postgres/port": lambda home: Postgres(home.folder).port,
    "postgres/password": lambda home: Postgres(home.folder).password,
}
CONTENTS = {"empty": b"", "word": b"x", "no text": b"\xff\xfe\x00", "list": b"[]", "half": b'{"a": '}
ANY_TEXT = {("aws/config", "empty"), ("aws/config", "word"), ("aws/config", "list"), ("aws/config", "half")}
"""Without a line ``endpoint_url`` there was no start before."""
ANY_WORD = {("postgres/password", way) for way in ("word", "list", "half")}
"""A password may be anything; PostgreSQL says whether it is right."""


@pytest.mark.parametrize("way", CONTENTS)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_with_what_to_do_and_left_alone(tmp_path: Path, name: str, way: str) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    path = home.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENTS[way])
    if (name, way) in ANY_TEXT | ANY_WORD:
        READERS[name](home)
        return
    with pytest.raises(Damaged) as error:
        READERS[name](home)
    assert str(path) in str(error.value)
    assert f"mv {path}" in str(error.value)
    assert path.read_bytes() == CONTENTS[way]


def test_a_port_that_is_none_in_the_configuration_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    ensure_credentials(home, 4747)
    home.config.write_text("[default]\nendpoint_url = http://127.0.0.1:x\n")
    with pytest.raises(Damaged, match="has no port"):
        last_port(home)


@pytest.mark.parametrize("name", ["credentials", "master.key"])
def test_the_copy_before_brings_it_back(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / "home")
    read = {"credentials": read_key, "master.key": master_key}[name]
    ensure_credentials(home, 4747)
    before = master_key(home) and read(home)
    path = home.folder / "aws" / name
    path.write_text("")  # in place, as an editor or a power failure would
    with pytest.raises(Damaged, match=rf"cp .*{name}\.before"):
        read(home)
    path.write_bytes(path.with_name(f"{name}.before").read_bytes())
    assert read(home) == before


def test_without_its_master_key_a_server_still_has_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    home.master_key.write_text("")
    key, damage = usable_master_key(home)
    assert len(key) == 32
    assert damage is not None
    assert home.master_key.read_text() == "", "not overwritten"


def test_a_damaged_record_of_named_images_costs_those_only(tmp_path: Path) -> None:
    class Others:
        """Knows every image."""

        asks = False

        def find(self, reference: str) -> Image | None:
            return None

        def build(self, reference: str, progress: Callable[[str], None]) -> Image:
            raise LookupError(reference)

    images = LocalImages(Others(), tmp_path)
    assert images.damage() is None
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "named.json").write_text("[]")
    assert images.find("skylift/airflow:3.3.2") is None
    with pytest.raises(LookupError):
        images.build("skylift/airflow:3.3.2", print)
    assert "named.json is damaged" in str(images.damage())
