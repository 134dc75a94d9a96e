"""Airflow's command line, in a process that ends quickly.

At exit Python searches all memory for reference cycles, several times. For an API server (250 MB, most of it untouched
for hours) that took 2.7 to 10 s after uvicorn had shut down (measured with perf), as long as the rest of ``skylift
down``. Frozen objects are not searched; the kernel frees their memory.
"""

from __future__ import annotations

import atexit
import gc
import sys

from airflow.__main__ import main

from skylift.runtime import gc_tuning as collecting
from skylift.runtime.database_pool import tend_soon
from skylift.runtime.execution_api import build_soon
from skylift.runtime.metrics.client import send_regularly

if __name__ == "__main__":
    atexit.register(gc.freeze)
    collecting.start(sys.argv[1:])
    build_soon(sys.argv[1:])
    tend_soon(sys.argv[1:])
    send_regularly(sys.argv[1:])
    if sys.argv[1:3] == ["celery", "worker"]:
        from skylift.runtime.workers.start import prepare  # lazy: imports Celery, which only workers need

        prepare()
    main()
