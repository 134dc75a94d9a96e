"""The fake's state: it comes back from its file, only its owner may read it, and damage is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.anyscale_fake.records import JobRecord, Records, RunRecord, ServiceRecord
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    records = Records.load(tmp_path / "below" / "state.json")
    assert records.jobs == {}
    run = RunRecord("run", "key", "arn", "stream", "RUNNING")
    records.jobs["j"] = JobRecord("j", {"name": "n"}, "now", "you", "RUNNING", "now", runs=[run])
    records.services["s"] = ServiceRecord("id", "s", {}, "RUNNING", 1.0, canary=True)
    records.save()
    assert Records.load(records.path) == records
    assert records.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["{", "[]", '{"jobs": []}', '{"jobs": [{"id": 1}], "services": []}'])
def test_damage_is_told_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(Refused, match=r"is damaged .*Move it away"):
        Records.load(path)
    assert path.read_text() == text
