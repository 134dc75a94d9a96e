"""The DAG bundle as Airflow sees it: found by its configuration, due when S3 changed, quiet when it did not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.local.runtime_cloud import rest_of_aws

pytestmark = pytest.mark.local

PROGRAM = """
import json, os, boto3
from airflow.dag_processing.bundles.manager import DagBundlesManager

s3 = boto3.client("s3")
put = lambda key, text: s3.put_object(Bucket="bundle-bucket", Key=key, Body=text.encode())
s3.create_bucket(Bucket="bundle-bucket")
put("dags/a.py", "1")
seen = {}
bundle = list(DagBundlesManager().get_all_dag_bundles())[0]
seen["before"] = bundle.refresh_interval
bundle.initialize()
seen["path"] = str(bundle.path)
seen["text"] = (bundle.path / "a.py").read_text()
seen["quiet"] = bundle.refresh_interval
put("dags/a.py", "2")
seen["changed"] = bundle.refresh_interval
bundle.refresh()
seen["after"] = (bundle.path / "a.py").read_text()
seen["quiet again"] = bundle.refresh_interval
again = DagBundlesManager().get_bundle("dags")
again.initialize()
seen["second"] = (again.path / "a.py").read_text()
seen["versions"] = [bundle.get_current_version(), bundle.supports_versioning]
s3.delete_object(Bucket="bundle-bucket", Key="dags/a.py")
s3.delete_bucket(Bucket="bundle-bucket")
seen["bucket gone"] = bundle.refresh_interval
try:
    bundle.refresh()
except Exception as error:
    seen["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(seen))
"""


def test_airflow_finds_the_bundle_and_asks_s3_whether_it_is_due(tmp_path: Path) -> None:
    bundles = [
        {
            "name": "dags",
            "classpath": "skylift.runtime.bundle.S3Bundle",
            "kwargs": {"url": "s3://bundle-bucket/dags", "refresh_interval": 300},
        }
    ]
    storage = tmp_path / "bundles"
    with rest_of_aws(tmp_path / "aws") as aws:
        environ = {
            **aws,
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(storage),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        }
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    error = seen.pop("error")
    assert error.startswith("Refused: s3 ListObjectsV2 s3://bundle-bucket/dags/")
    assert seen == {
        "before": 300,
        "path": str(storage / "dags" / "dags"),
        "text": "1",
        "quiet": 300,
        "changed": 0,
        "after": "2",
        "quiet again": 300,
        "second": "2",
        "versions": [None, False],
        "bucket gone": 0,
    }
