"""Archives: a layer packs to the same bytes and unpacks whole; a plugins.zip cannot write outside its folder."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from skylift.runtime.archive import ArchiveFailed, pack_tar, unpack_tar, unpack_zip

pytestmark = pytest.mark.unit


def folder_with_files(root: Path, when: float) -> Path:
    (root / "site-packages" / "bin").mkdir(parents=True)
    (root / "site-packages" / "a.py").write_text("x = 1\n")
    script = root / "site-packages" / "bin" / "tool"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    for path in root.rglob("*"):
        os.utime(path, (when, when))
    return root


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    packed = []
    for number in (1, 2):
        target = tmp_path / f"{number}.tar.gz"
        pack_tar(folder_with_files(tmp_path / str(number), 1e9 * number), target)
        packed.append(target.read_bytes())
    assert packed[0] == packed[1]


def test_what_was_packed_comes_out(tmp_path: Path) -> None:
    pack_tar(folder_with_files(tmp_path / "in", 1e9), tmp_path / "l.tar.gz")
    unpack_tar(tmp_path / "l.tar.gz", tmp_path / "out")
    assert (tmp_path / "out/site-packages/a.py").read_text() == "x = 1\n"
    assert os.access(tmp_path / "out/site-packages/bin/tool", os.X_OK)


def test_a_tar_that_would_leave_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "f", "../escaped")
    with pytest.raises(ArchiveFailed):
        unpack_tar(tmp_path / "bad.tar.gz", tmp_path / "out" / "deep")
    assert not (tmp_path / "out" / "escaped").exists()


def test_half_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half.tar.gz").write_bytes(b"\x1f\x8b\x08nothing")
    with pytest.raises(ArchiveFailed, match=r"half\.tar\.gz cannot be unpacked"):
        unpack_tar(tmp_path / "half.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "a/../../evil.py", "..\\evil.py"])
def test_a_zip_member_outside_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        file.writestr(name, "x")
    with pytest.raises(ArchiveFailed, match="outside its folder"):
        unpack_zip(tmp_path / "p.zip", tmp_path / "plugins")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.zip", "plugins"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ArchiveFailed, match="symbolic link"):
        unpack_zip(tmp_path / "p.zip", tmp_path / "plugins")


def test_a_zip_unpacks_with_folders_and_modes(tmp_path: Path) -> None:
    tool = zipfile.ZipInfo("bin/tool")
    tool.external_attr = (stat.S_IFREG | 0o755) << 16
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        file.writestr("deep/plugin.py", "y = 2\n")
        file.writestr(tool, "#!/bin/sh\n")
    unpack_zip(tmp_path / "p.zip", tmp_path / "plugins")
    assert (tmp_path / "plugins/deep/plugin.py").read_text() == "y = 2\n"
    assert os.access(tmp_path / "plugins/bin/tool", os.X_OK)


def test_what_is_no_zip_or_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    with pytest.raises(ArchiveFailed, match="cannot be unpacked"):
        unpack_zip(tmp_path / "no.zip", tmp_path / "a")
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file, file.open("zeros", "w") as member:
        for _ in range(3):
            member.write(bytes(1 << 20))
    with pytest.raises(ArchiveFailed, match="holds more than"):
        unpack_zip(bomb, tmp_path / "b", most=2 << 20)
