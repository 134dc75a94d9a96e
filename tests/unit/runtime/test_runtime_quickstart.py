"""The quickstart example: its numbers are right, and its DAG and plugin load in a fresh Airflow."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart"
TABLE = (EXAMPLE / "data" / "seattle-weather.csv").read_text()
SMALL = """date,precipitation,temp_max,temp_min,wind,weather
2012/01/01,1.5,10.0,5.0,4.7,rain
2012-01-02,0.25,20.0,2.8,4.5,sun
2012/03/01,0,31.5,2.8,4.5,sun
2013/12/31,7,-1.0,2.8,4.5,snow
"""


@pytest.fixture(scope="module")
def weather() -> ModuleType:
    spec = importlib.util.spec_from_file_location("weather", EXAMPLE / "dags" / "weather.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_year_is_summed_up(weather: ModuleType) -> None:
    assert weather.years_in(SMALL) == [2012, 2013]
    assert weather.summary_of(SMALL, 2012) == {
        "year": 2012,
        "days": 3,
        "mean_max": [15.0, None, 31.5, *[None] * 9],
        "rain_mm": [1.8, 0, 0, *[0] * 9],
        "warmest_day": {"date": "2012-03-01", "celsius": 31.5},
        "weather": {"rain": 1, "sun": 2},
    }
    with pytest.raises(ValueError, match="1999"):
        weather.summary_of(SMALL, 1999)


def test_the_real_table_is_whole_and_agrees_with_itself(weather: ModuleType) -> None:
    rows = list(csv.DictReader(TABLE.splitlines()))
    summaries = [weather.summary_of(TABLE, year) for year in weather.years_in(TABLE)]
    assert [one["days"] for one in summaries] == [366, 365, 365, 365]
    rain = sum(float(row["precipitation"]) for row in rows)
    assert sum(sum(one["rain_mm"]) for one in summaries) == pytest.approx(rain, abs=0.5)
    assert max(float(row["temp_max"]) for row in rows) == 35.6
    told = weather.headline(summaries)
    assert told.startswith("Seattle 2012 to 2015: 49% of all days were sunny; 2014 was the wettest year (1233 mm);")
    assert told.endswith("the warmest day was 2014-08-11 (35.6 °C).")


CHECK = """
import json, sys
sys.path[:0] = [sys.argv[1] + "/dags", sys.argv[1] + "/plugins"]
import quickstart, weather_page
dag = quickstart.quickstart()
tasks = {name: sorted(dag.get_task(name).upstream_task_ids) for name in dag.task_ids}
mapped = [name for name in dag.task_ids if getattr(dag.get_task(name), "is_mapped", False)]
views = weather_page.WeatherPage.external_views
routes = sorted(route.path for route in weather_page.app.routes if route.path in ("/", "/chart.svg"))
print(json.dumps([dag.dag_id, tasks, mapped, views[0]["href"], routes]))
"""


def test_the_dag_and_the_plugin_load(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    command = [sys.executable, "-c", CHECK, str(EXAMPLE)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    dag_id, tasks, mapped, href, routes = json.loads(done.stdout.splitlines()[-1])
    assert dag_id == "quickstart"
    assert tasks == {"find_years": [], "summarise": ["find_years"], "draw": ["summarise"]}
    assert mapped == ["summarise"]
    assert (href, routes) == ("/weather/", ["/", "/chart.svg"])


def test_the_example_is_pinned_and_names_its_source() -> None:
    wanted = [line for line in (EXAMPLE / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all("==" in line for line in wanted)
    assert "NOAA" in (EXAMPLE / "data" / "README.md").read_text()
