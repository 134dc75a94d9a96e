"""Archives: a layer packs to the same bytes and unpacks whole; a plugins.zip cannot write outside its folder."""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from skylift.runtime.archive import ArchiveFailed, files_of, pack_tar, unpack_tar, unpack_zip

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


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_layer_holds_files_and_folders_and_nothing_else(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("odd")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.addfile(member)
    with pytest.raises(ArchiveFailed, match="neither a file nor a folder"):
        unpack_tar(tmp_path / "bad.tar.gz", tmp_path / "out")


def test_a_file_with_two_names_is_packed_twice(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_text("x")
    os.link(tmp_path / "in/a", tmp_path / "in/b")
    pack_tar(tmp_path / "in", tmp_path / "l.tar.gz")
    unpack_tar(tmp_path / "l.tar.gz", tmp_path / "out")
    assert [(tmp_path / "out" / name).read_text() for name in "ab"] == ["x", "x"]


def test_half_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half.tar.gz").write_bytes(b"\x1f\x8b\x08nothing")
    with pytest.raises(ArchiveFailed, match=r"half\.tar\.gz cannot be unpacked"):
        unpack_tar(tmp_path / "half.tar.gz", tmp_path / "out")


def made(target: Path, *members: tuple[str | zipfile.ZipInfo, str]) -> Path:
    """A zip with these members, whose names are written as they are."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of a second member of one name
        for name, content in members:
            with file.open(zipfile.ZipInfo(name) if isinstance(name, str) else name, "w") as member:
                member.write(content.encode())
    return target


def empty(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.CRC = 0
    return member


def of_kind(name: str, kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (kind | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "/tmp/evil.py",
        "//host/share/evil.py",
        "a/../../evil.py",
        "a/../evil.py",
        "..\\evil.py",
        "\\etc\\evil.py",
        "\\\\host\\share\\evil.py",
        "a\\..\\..\\evil.py",
        "C:\\evil.py",
        "c:/evil.py",
        "c:evil.py",
        "../",
        "..\\",
        "..",
    ],
)
def test_a_zip_member_outside_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveFailed, match="outside its folder"):
        unpack_zip(made(tmp_path / "p.zip", ("good.py", "1"), (name, "x")), tmp_path / "deep" / "plugins")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "p.zip", "plugins"], "nothing was written"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("", "x")], "without a name"),
        ([(".", "x")], "is empty"),
        ([("n" * 300 + ".py", "x")], "303 bytes"),
        ([("/".join(["f" * 200] * 6), "x")], "1205 bytes"),
        ([("d/" * 200 + "deep.py", "x")], "200 folders deep"),
        ([("new\nline.py", "x")], "control character"),
        ([("a.py", "1"), ("a.py", "2")], "twice"),
        ([("p\\a.py", "1"), ("./p//a.py", "2")], "twice"),
        ([("a", "1"), ("a/b.py", "2")], "a folder, too"),
        ([("a/b.py", "1"), ("a", "2")], "a folder, too"),
        ([(of_kind("link.py", stat.S_IFLNK), "/etc/passwd")], "symbolic link"),
        ([(of_kind("link/", stat.S_IFLNK), "/etc")], "symbolic link"),
        ([(of_kind("pipe", stat.S_IFIFO), "")], "neither a file nor a folder"),
        ([(of_kind("disk", stat.S_IFBLK), "")], "neither a file nor a folder"),
    ],
)
def test_a_member_that_cannot_be_a_file_of_its_own_is_refused_and_named(
    members: list[tuple[str | zipfile.ZipInfo, str]], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveFailed, match=reason):
        unpack_zip(made(tmp_path / "p.zip", ("good.py", "1"), *members), tmp_path / "plugins")
    assert list((tmp_path / "plugins").iterdir()) == [], "nothing was written"


def test_a_zip_made_on_windows_unpacks_as_it_was_meant(tmp_path: Path) -> None:
    members = (
        ("pkg\\", ""),
        ("pkg\\deep\\plugin.py", "y = 2\n"),
        ("./top.py", "1"),
        ("top.py", "1"),
        ("/".join("ab"), "2"),
    )
    unpack_zip(made(tmp_path / "p.zip", *members), tmp_path / "plugins")
    found = {
        str(path.relative_to(tmp_path / "plugins")) for path in (tmp_path / "plugins").rglob("*") if path.is_file()
    }
    assert found == {"pkg/deep/plugin.py", "top.py", "a/b"}


def test_names_of_255_bytes_unpack(tmp_path: Path) -> None:
    unpack_zip(made(tmp_path / "p.zip", ("n" * 252 + ".py", "1")), tmp_path / "plugins")
    assert len(next((tmp_path / "plugins").iterdir()).name) == 255


def test_an_encrypted_zip_is_refused_in_words(tmp_path: Path) -> None:
    body = bytearray(made(tmp_path / "p.zip", ("secret.py", "x = 1")).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(mark) + offset] |= 1  # the flag that says so, in the member's own header and in the directory
    (tmp_path / "p.zip").write_bytes(body)
    with pytest.raises(ArchiveFailed, match=r"secret\.py.*without a password"):
        unpack_zip(tmp_path / "p.zip", tmp_path / "plugins")


def test_any_broken_zip_is_a_refusal_and_no_crash(tmp_path: Path) -> None:
    """Every byte of two small archives, damaged in turn: what comes out is whole, or the archive is refused."""
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "good.zip", "w", compression) as file:
            file.writestr("a/b.py", "x = 1\n" * 50)
        good = (tmp_path / "good.zip").read_bytes()
        refused = 0
        for place in range(len(good)):
            for value in (0x00, 0xFF, good[place] ^ 0x01):
                broken = tmp_path / "broken.zip"
                broken.write_bytes(good[:place] + bytes([value]) + good[place + 1 :])
                target = tmp_path / f"{compression}-{place}-{value}"
                with contextlib.suppress(ArchiveFailed):
                    unpack_zip(broken, target)
                    continue
                refused += 1
        assert refused > len(good) / 4
    assert {path.name[0] for path in tmp_path.iterdir()} <= set("gb0123456789"), "nothing outside the folders"


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
    lying = bytearray(bomb.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = lying.index(mark) + offset
        lying[place : place + 4] = (1 << 20).to_bytes(4, "little")  # says that it is a third of what it is
    bomb.write_bytes(lying)
    with pytest.raises(ArchiveFailed, match="cannot be unpacked"):
        unpack_zip(bomb, tmp_path / "c", most=2 << 20)
    assert sum(path.stat().st_size for path in (tmp_path / "c").rglob("*")) <= 2 << 20
    with pytest.raises(ArchiveFailed, match="more than 100000 members"):
        files_of(empty(f"{number}.py") for number in range(100_001))
