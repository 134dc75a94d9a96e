"""A new version in the bucket becomes one update: on rows and a bucket in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.control_scenes import SETTINGS, context, request, spec
from tests.unit.control.test_control_provider import row

from skylift.aws.s3 import Found
from skylift.control.airflow_config import user_options
from skylift.control.api.validation import Invalid, spec_of
from skylift.control.bucket_watch import SOURCE, TRIED, BucketWatch
from skylift.control.store import Row
from skylift.control.update_plan import plan_update
from skylift.core.environment import Generation, S3Object, Status
from skylift.core.errors import Unavailable

pytestmark = pytest.mark.unit
OPTION = {"skylift.follow_bucket": "True"}
MEMBERS: dict[str, Any] = {"RequirementsS3Path": "requirements.txt", "PluginsS3Path": "plugins.zip"}


class Followed:
    """A store with one row, and its bucket."""

    def __init__(self, **members: Any) -> None:
        self.row = row(
            spec(**{"AirflowConfigurationOptions": OPTION, **MEMBERS, **members}),
            facts={"source.requirements.version": "r1", "source.plugins.version": "p1", "source.checked": "all"},
        )
        self.objects = {"requirements.txt": Found("r1", "e1"), "plugins.zip": Found("p1", "e2")}
        self.told: list[str] = []
        self.rings, self.away, self.outrun = 0, False, False
        self.begin()

    def begin(self) -> None:
        self.watch = BucketWatch(self, self, SETTINGS, self.ring)

    def ring(self) -> None:
        self.rings += 1

    def all(self) -> Sequence[Row]:
        return [self.row]

    def find(self, bucket: str, key: str, version: str = "") -> Found | None:
        if self.away:
            raise Unavailable("no S3")
        assert (bucket, version) == ("flight-bucket", "")
        return self.objects.get(key)

    def request_update(self, wanted: Row, source: str, told: str, replacement: str = "") -> bool:
        assert (source, replacement) == (SOURCE, "")
        if not self.outrun:
            self.row = replace(wanted, status=Status.UPDATING, generation=Generation(wanted.generation + 1))
            self.told.append(told)
        return not self.outrun

    def looks(self, times: int) -> None:
        for _ in range(times):
            self.watch.look()

    def ends(self, well: bool = True) -> None:
        """The update ends: facts of what it found, or of what served."""
        assert self.row.served is not None
        if well:
            found = {f"source.{name}.version": one.version for name, one in self.pinned().items()}
            self.row = replace(self.row, status=Status.AVAILABLE, facts={**self.row.facts, **found}, served=None)
        else:
            was = self.row.served
            self.row = replace(self.row, status=Status.UPDATE_FAILED, spec=was.spec, facts=was.facts, served=None)

    def pinned(self) -> dict[str, S3Object]:
        found = {name: getattr(self.row.spec, name) for name in ("requirements", "plugins")}
        return {name: one for name, one in found.items() if one is not None}


def test_a_new_version_becomes_one_update_that_pins_it() -> None:
    bucket = Followed()
    bucket.looks(3)
    assert bucket.told == [], "nothing is new"
    bucket.objects["requirements.txt"] = Found("r2", "e3")
    bucket.looks(1)
    assert bucket.told == [], "another file may follow"
    bucket.looks(1)
    assert bucket.told == [f"{SOURCE}: the bucket has something new: requirements.txt (version r2)"]
    assert bucket.pinned() == {
        "requirements": S3Object("requirements.txt", "r2"),
        "plugins": S3Object("plugins.zip", "p1"),
    }
    assert bucket.row.served is not None
    assert bucket.row.served.spec.requirements == S3Object("requirements.txt", "r1")
    assert "source.checked" not in bucket.row.facts, "it is looked up again"
    assert bucket.rings == 1
    bucket.ends()
    bucket.looks(4)
    assert len(bucket.told) == 1


def test_what_comes_together_or_meanwhile_is_applied_together() -> None:
    bucket = Followed()
    bucket.looks(1)
    for n in range(2, 6):  # somebody goes on uploading
        bucket.objects["requirements.txt"] = Found(f"r{n}", f"e{n}")
        bucket.looks(1)
    assert bucket.told == []
    bucket.looks(1)
    assert len(bucket.told) == 1
    bucket.objects |= {"requirements.txt": Found("r9", "e9"), "plugins.zip": Found("p9", "e9")}
    bucket.looks(5)
    assert len(bucket.told) == 1, "one at a time"
    bucket.ends()
    bucket.looks(2)
    assert bucket.told[1:] == [
        f"{SOURCE}: the bucket has something new: requirements.txt (version r9), plugins.zip (version p9)"
    ]


def test_what_failed_is_not_tried_again_until_something_newer_comes() -> None:
    bucket = Followed()
    bucket.objects["requirements.txt"] = Found("bad", "e3")
    bucket.looks(2)
    bucket.ends(well=False)
    assert bucket.row.facts[TRIED]
    bucket.looks(5)
    bucket.begin()  # the control plane was killed
    bucket.looks(5)
    assert len(bucket.told) == 1
    bucket.objects["requirements.txt"] = Found("good", "e4")
    bucket.looks(2)
    assert len(bucket.told) == 2
    bucket.ends()
    assert bucket.pinned()["requirements"].version == "good"


def test_an_older_version_that_somebody_asks_for_stays() -> None:
    bucket = Followed()
    bucket.objects["requirements.txt"] = Found("r2", "e3")
    bucket.looks(2)
    bucket.ends()
    bucket.row = replace(bucket.row, spec=replace(bucket.row.spec, requirements=S3Object("requirements.txt", "r1")))
    bucket.looks(5)
    assert len(bucket.told) == 1


def test_a_bucket_without_versions_is_followed_by_etag() -> None:
    bucket = Followed(PluginsS3Path="")
    bucket.objects["requirements.txt"] = Found("", "e1")
    bucket.row = replace(bucket.row, facts={"source.requirements.version": "", "source.requirements.etag": "e1"})
    bucket.looks(3)
    assert bucket.told == []
    bucket.objects["requirements.txt"] = Found("", "e2")
    bucket.looks(2)
    assert len(bucket.told) == 1
    assert bucket.pinned()["requirements"] == S3Object("requirements.txt")


@pytest.mark.parametrize("status", [one for one in Status if one not in {"AVAILABLE", "UPDATE_FAILED", "UNAVAILABLE"}])
def test_only_what_may_be_updated_is(status: Status) -> None:
    bucket = Followed()
    bucket.row = replace(bucket.row, status=status)
    bucket.objects["requirements.txt"] = Found("r2", "e3")
    bucket.looks(3)
    assert bucket.told == []


def test_without_the_option_nobody_looks() -> None:
    for options in ({}, {"skylift.follow_bucket": "no"}):
        bucket = Followed(AirflowConfigurationOptions=options)
        bucket.away = True
        bucket.objects["requirements.txt"] = Found("r2", "e3")
        bucket.looks(3)
        assert bucket.told == []


def test_what_was_deleted_is_no_news_and_what_is_away_comes_again() -> None:
    bucket = Followed()
    del bucket.objects["requirements.txt"]
    bucket.looks(3)
    bucket.away = True
    bucket.looks(3)
    bucket.away, bucket.outrun = False, True
    bucket.objects["plugins.zip"] = Found("p2", "e9")
    bucket.looks(3)
    assert (bucket.told, bucket.rings) == ([], 0), "somebody else's change came first"
    bucket.outrun = False
    bucket.looks(1)
    assert len(bucket.told) == 1


def test_the_option_is_checked_and_restarts_nothing() -> None:
    now, wanted = context(spec()), context(spec(AirflowConfigurationOptions=OPTION))
    assert user_options(wanted) == {}
    plan = plan_update(now, wanted)
    assert (plan.steps, plan.notes) == ((), ())
    with pytest.raises(Invalid, match=r"skylift.follow_bucket cannot be often: expected true or false"):
        spec_of(request(AirflowConfigurationOptions={"skylift.follow_bucket": "often"}), SETTINGS)
