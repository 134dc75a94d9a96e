"""``python -m skylift.runtime.parsing.one_run DAGS FILE DAG_ID CONF``: runs one DAG in this process, with its logs.

It is Airflow's own ``DAG.test``: tasks run one after the other, without scheduler and executor. Exit code 0 if the run
succeeded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from skylift.runtime import gc_tuning
from skylift.runtime.parsing.one_file import imported


def main(dags: Path, file: Path, dag_id: str, conf: dict[str, Any]) -> int:
    """Runs the DAG."""
    gc_tuning.start_short_lived()
    sys.path.insert(0, str(dags))
    found = {dag.dag_id: dag for dag in imported(file, of_dags=True)}
    if dag_id not in found:
        print(f"{file} has no DAG {dag_id}: it has {', '.join(found) or 'none'}", file=sys.stderr)  # noqa: T201
        return 2
    run = found[dag_id].test(run_conf=conf)
    state = str(getattr(run.state, "value", run.state))
    print(f"run {run.run_id} of {dag_id}: {state}", flush=True)  # noqa: T201
    return 0 if state == "success" else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
