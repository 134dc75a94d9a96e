"""A driver: ``python -m bench.executors_driver WHOSE KIND SCENARIO ARGUMENTS ANSWER`` runs one scenario around one
executor.

Exit code 3: there is no such executor.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench import executors_airflow, executors_crashes, executors_scenarios, executors_virtual

SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        executors_scenarios.launch,
        executors_scenarios.busy,
        executors_scenarios.idle,
        executors_scenarios.overhead,
        executors_virtual.throttled,
        executors_virtual.endings,
        executors_crashes.crashes,
    )
}


def main() -> None:
    whose, kind, scenario, asked, answer = sys.argv[1:]
    try:
        executors_airflow.executor_of(whose, kind)
    except ImportError as error:
        sys.stdout.write(f"{error}\n")
        sys.stdout.flush()
        os._exit(3)
    aws = executors_airflow.account(os.environ["AWS_ACCESS_KEY_ID"])
    Path(answer).write_text(json.dumps(SCENARIOS[scenario](aws, whose, kind, **json.loads(asked))))


if __name__ == "__main__":
    main()
    executors_airflow.leave()
