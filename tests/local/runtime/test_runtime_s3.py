"""The runtime's parts that meet S3, over real HTTP: the DAG folder's mirror, and objects with versions."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.local.runtime_cloud import rest_of_aws

from skylift.aws.s3_objects import ObjectRef, S3Objects
from skylift.core.clock import ManualClock
from skylift.core.errors import Refused
from skylift.runtime.mirror import AGAIN_AFTER, AHEAD, MOST_WARNINGS, Mirror
from skylift.runtime.object_cache import ObjectCache

pytestmark = pytest.mark.local
BUCKET = "runtime-bucket"


class Counted:
    """boto3's client, with the calls counted."""

    def __init__(self, s3: Any) -> None:
        self.calls: list[str] = []
        self._s3 = s3
        s3.meta.events.register("before-call.s3", lambda model, **_: self.calls.append(model.name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with rest_of_aws(tmp_path_factory.mktemp("aws")) as found:
        client = boto3.client(
            "s3",
            endpoint_url=found["AWS_ENDPOINT_URL"],
            aws_access_key_id="a",
            aws_secret_access_key="b",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_follows_the_bucket(s3: Any, tmp_path: Path) -> None:
    put = lambda key, text: s3.put_object(Bucket=BUCKET, Key=f"one/{key}", Body=text.encode())  # noqa: E731
    put("a.py", "a1")
    put("pkg/b.py", "b1")
    put("pkg/__pycache__/b.pyc", "no")
    counted = Counted(s3)
    mirror = Mirror(f"s3://{BUCKET}/one", tmp_path, S3Objects(counted))
    mirror.refresh()
    assert files_of(mirror.folder) == {"a.py": "a1", "pkg/b.py": "b1"}

    before = (mirror.folder / "a.py").stat().st_mtime_ns
    put("a.py", "a2")
    s3.delete_object(Bucket=BUCKET, Key="one/pkg/b.py")
    assert mirror.differs()
    mirror.refresh()
    assert files_of(mirror.folder) == {"a.py": "a2"}
    assert (mirror.folder / "a.py").stat().st_mtime_ns > before, "Airflow parses by mtime"
    assert not (mirror.folder / "pkg").exists()

    counted.calls.clear()
    assert not mirror.differs()
    assert not mirror.refresh()
    assert counted.calls == ["ListObjectsV2", "ListObjectsV2"], "nothing changed: one listing each"


def test_containers_of_one_machine_fetch_each_content_once(s3: Any, tmp_path: Path) -> None:
    put = lambda key, text: s3.put_object(Bucket=BUCKET, Key=f"shared/{key}", Body=text.encode())  # noqa: E731
    put("pkg/a.py", "a1")
    counted = Counted(s3)
    container = lambda name: Mirror(  # noqa: E731
        f"s3://{BUCKET}/shared", tmp_path / name, S3Objects(counted), cache=ObjectCache(tmp_path / "cache")
    )
    first, second = container("1"), container("2")
    first.refresh()
    assert counted.calls == ["ListObjectsV2", "GetObject"]
    counted.calls.clear()
    second.refresh()
    assert counted.calls == ["ListObjectsV2"]
    assert files_of(second.folder) == {"pkg/a.py": "a1"}
    (second.folder / "pkg" / "a.py").write_text("what a container does to its file is its own matter")
    put("pkg/a.py", "a2")
    counted.calls.clear()
    third = container("3")
    third.refresh()
    second.refresh()
    assert files_of(third.folder) == files_of(second.folder) == {"pkg/a.py": "a2"}
    assert counted.calls == ["ListObjectsV2", "GetObject", "ListObjectsV2"]
    assert len(files_of(tmp_path / "cache")) == 1, "only the newest content is kept"

    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder at all: each fetches for itself")
    fourth = container("4")
    fourth.refresh()
    assert files_of(fourth.folder) == {"pkg/a.py": "a2"}


def test_a_new_process_fetches_nothing_again_and_repairs_what_is_missing(s3: Any, tmp_path: Path) -> None:
    for name in ("x.py", "y.py"):
        s3.put_object(Bucket=BUCKET, Key=f"two/{name}", Body=name.encode())
    Mirror(f"s3://{BUCKET}/two/", tmp_path, S3Objects(s3)).refresh()
    again = Mirror(f"s3://{BUCKET}/two/", tmp_path, S3Objects(s3))
    assert not again.differs()
    (again.folder / "x.py").unlink()
    assert again.refresh().fetch == ("x.py",)
    (tmp_path / "manifest.json").write_text("{broken")
    assert set(again.refresh().fetch) == {"x.py", "y.py"}


def test_a_second_save_soon_after_the_first_has_a_later_mtime(s3: Any, tmp_path: Path) -> None:
    clock = ManualClock()
    mirror = Mirror(f"s3://{BUCKET}/three", tmp_path, S3Objects(s3), clock)
    seen = []
    for text, pause in (("1", 0), ("2", 5), ("3", 600)):
        clock.advance(pause)
        s3.put_object(Bucket=BUCKET, Key="three/d.py", Body=text.encode())
        mirror.refresh()
        seen.append((mirror.folder / "d.py").stat().st_mtime - clock.now)
    assert seen[1] == pytest.approx(AHEAD, abs=0.01)
    assert abs(seen[0] - AHEAD) > 60, "the first save has the real time, which the manual clock does not know"
    assert abs(seen[2] - AHEAD) > 60


def test_a_file_becomes_a_folder_and_back(s3: Any, tmp_path: Path) -> None:
    mirror = Mirror(f"s3://{BUCKET}/four", tmp_path, S3Objects(s3))
    for key, gone in (("a", "a/b"), ("a/b", "a"), ("a", "a/b")):
        s3.delete_object(Bucket=BUCKET, Key=f"four/{gone}")
        s3.put_object(Bucket=BUCKET, Key=f"four/{key}", Body=key.encode())
        mirror.refresh()
        assert files_of(mirror.folder) == {key: key}


STRANGE = (
    "n" * 300 + ".py",
    "n" * 249 + ".py",
    "pkg/" + "n" * 256 + "/x.py",
    "clash",
    "../up.py",
    "pkg/../../up.py",
    "./dot.py",
    "/lead.py",
    "two//slashes.py",
    "not-empty/",
    "new\nline.py",
    "bell\x07.py",
    "deep/" * 150 + "x.py",
)
"""Keys that S3 takes and that cannot be files."""

UNUSUAL = (
    "good.py",
    "clash/z.py",
    "Case.py",
    "case.py",
    "n" * 248 + ".py",
    "n" * 255 + "/x.py",
    "ü/a b+c%20?#*.py",
    "back\\slash.py",
)
"""Keys that can."""


def test_a_strange_key_costs_a_warning_and_itself(s3: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for key in (*STRANGE, *UNUSUAL):
        s3.put_object(Bucket=BUCKET, Key=f"strange/{key}", Body=key.encode())
    s3.put_object(Bucket=BUCKET, Key="strange/marker/", Body=b"")
    url, cache = f"s3://{BUCKET}/strange", ObjectCache(tmp_path / "cache")
    mirror = Mirror(url, tmp_path / "1", S3Objects(s3), cache=cache)
    mirror.refresh()
    assert files_of(mirror.folder) == {key: key for key in UNUSUAL}
    told = [record.getMessage() for record in caplog.records if record.name == "skylift.runtime.mirror"]
    assert len(told) == len(STRANGE)
    assert all(any(repr(f"s3://{BUCKET}/strange/{key}")[:200] in line for line in told) for key in STRANGE)
    assert "\n" not in "".join(told)
    assert "\x07" not in "".join(told)

    caplog.clear()
    assert not mirror.differs(), "what is left out is no change that is still to come"
    assert not mirror.refresh()
    assert caplog.messages == [], "told once"
    second = Mirror(url, tmp_path / "2", S3Objects(s3), cache=cache)
    second.refresh()
    assert files_of(second.folder) == {key: key for key in UNUSUAL}, "from the cache as from S3"


def test_an_object_that_cannot_be_had_stops_no_other(s3: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    locked = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}  # nobody reads it without that key
    s3.put_object(Bucket=BUCKET, Key="locked/a.py", Body=b"a", **locked)
    clock = ManualClock()
    counted = Counted(s3)
    mirror = Mirror(f"s3://{BUCKET}/locked", tmp_path, S3Objects(counted), clock)
    with pytest.raises(Refused, match=r"locked/a\.py"):
        mirror.refresh()  # nothing at all can be had: that is no matter of one key

    s3.put_object(Bucket=BUCKET, Key="locked/b.py", Body=b"b")
    mirror.refresh()
    assert files_of(mirror.folder) == {"b.py": "b"}
    assert [f"s3://{BUCKET}/locked/a.py" in line for line in caplog.messages] == [True]
    counted.calls.clear()
    assert not mirror.differs()
    assert not mirror.refresh()
    assert set(counted.calls) == {"ListObjectsV2"}, "not asked for again each second"

    clock.advance(AGAIN_AFTER + 1)
    assert mirror.differs(), "it may be readable by now"
    s3.put_object(Bucket=BUCKET, Key="locked/a.py", Body=b"free")
    mirror.refresh()
    assert files_of(mirror.folder) == {"a.py": "free", "b.py": "b"}


def encrypted_zip() -> bytes:
    """A zip that says of its one member that it is encrypted."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("dag.py", "x = 1")
    body = bytearray(buffer.getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(mark) + offset] |= 1
    return bytes(body)


def test_a_zip_that_would_end_the_dag_processor_is_left_out(
    s3: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    readable = io.BytesIO()
    with zipfile.ZipFile(readable, "w") as file:
        file.writestr("dag.py", "x = 1")
    for key, body in (("bad.zip", encrypted_zip()), ("named.whl", encrypted_zip()), ("a.zip", readable.getvalue())):
        s3.put_object(Bucket=BUCKET, Key=f"zips/{key}", Body=body)
    cache = ObjectCache(tmp_path / "cache")
    for name in ("1", "2"):
        caplog.clear()
        mirror = Mirror(f"s3://{BUCKET}/zips", tmp_path / name, S3Objects(s3), cache=cache)
        mirror.refresh()
        assert [path.name for path in mirror.folder.iterdir()] == ["a.zip"]
        assert ["is encrypted" in line for line in caplog.messages] == [True, True]
        assert not mirror.differs()
    s3.put_object(Bucket=BUCKET, Key="zips/bad.zip", Body=readable.getvalue())
    mirror.refresh()
    assert {path.name for path in mirror.folder.iterdir()} == {"a.zip", "bad.zip"}


def test_what_user_code_left_in_the_folder_is_in_nobodys_way(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket=BUCKET, Key="ways/a", Body=b"a")
    mirror = Mirror(f"s3://{BUCKET}/ways", tmp_path, S3Objects(s3))
    mirror.refresh()
    (mirror.folder / "b").mkdir()
    (mirror.folder / "b" / "output.csv").write_text("a folder of somebody's, where a file comes")
    (mirror.folder / "c").write_text("a file of somebody's, where a folder comes")
    (mirror.folder / "other").write_text("stays")
    for key in ("b", "c/d.py"):
        s3.put_object(Bucket=BUCKET, Key=f"ways/{key}", Body=key.encode())
    mirror.refresh()
    assert files_of(mirror.folder) == {"a": "a", "b": "b", "c/d.py": "c/d.py", "other": "stays"}


def test_thousands_of_strange_keys_are_counted_and_not_all_told(
    s3: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MOST_WARNINGS + 3):
        s3.put_object(Bucket=BUCKET, Key=f"lots//{number}.py", Body=b"x")
    Mirror(f"s3://{BUCKET}/lots", tmp_path, S3Objects(s3)).refresh()
    assert len(caplog.messages) == MOST_WARNINGS + 1
    assert caplog.messages[-1].startswith("3 more keys")


def test_an_empty_prefix_is_an_empty_folder_and_no_bucket_is_refused(s3: Any, tmp_path: Path) -> None:
    mirror = Mirror(f"s3://{BUCKET}/nothing-here", tmp_path / "1", S3Objects(s3))
    mirror.refresh()
    assert mirror.folder.is_dir()
    with pytest.raises(Refused, match="no-such-bucket-here"):
        Mirror("s3://no-such-bucket-here/dags", tmp_path / "2", S3Objects(s3)).refresh()


def test_many_files_and_old_versions(s3: Any, tmp_path: Path) -> None:
    for number in range(1_100):
        s3.put_object(Bucket=BUCKET, Key=f"many/{number}.py", Body=str(number).encode())
    mirror = Mirror(f"s3://{BUCKET}/many", tmp_path, S3Objects(s3))
    mirror.refresh()
    assert files_of(mirror.folder) == {f"{number}.py": str(number) for number in range(1_100)}
    assert not list((tmp_path / "arriving").iterdir())

    first = s3.put_object(Bucket=BUCKET, Key="v/k", Body=b"old")["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="v/k", Body=b"new")
    objects = S3Objects(s3)
    assert objects.fetch(ObjectRef(BUCKET, "v/k", first), tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == b"old"
    assert objects.fetch(ObjectRef(BUCKET, "v/none"), tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
