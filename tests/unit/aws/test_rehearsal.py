"""The rehearsal of first calls: all are made, to this process alone, and nothing is left of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

PROGRAM = """
import os, sys, threading
os.environ |= {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
from botocore.parsers import ResponseParser
from skylift.aws.rehearsal import rehearse
parsed = []
first = ResponseParser.parse
def told(self, response, shape):
    parsed.append(response["status_code"])
    return first(self, response, shape)
ResponseParser.parse = told
before = set(os.listdir("/proc/self/fd"))
rehearse()
print(parsed, len(threading.enumerate()), len(set(os.listdir("/proc/self/fd")) - before))
"""


def test_each_call_is_answered_and_nothing_is_left() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[200, 200, 204, 200, 200] 1 0"
