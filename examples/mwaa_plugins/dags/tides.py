"""Uses a hook, an operator and a sensor of ``plugins/``, and a provider of ``requirements.txt``."""

from __future__ import annotations

from importlib.metadata import version

from airflow.sdk import DAG, task
from operators.tide_operator import TideOperator
from sensors.tide_sensor import TideSensor

with DAG(dag_id="tides", schedule=None, is_paused_upon_creation=False, tags=["example"], doc_md=__doc__):

    @task
    def say(heights: dict[str, float]) -> str:
        """The result, and which version of the provider was installed."""
        text = f"high tide: {max(heights.values())} m; http provider {version('apache-airflow-providers-http')}"
        print(text)
        return text

    wait = TideSensor(task_id="wait", metres=3.5, poke_interval=1, timeout=120)
    tide = TideOperator(task_id="tide")
    wait >> tide
    say(tide.output)
