"""Four years of weather in Seattle: read from S3, one task per year, a result and a picture back to S3.

It is plain Airflow and runs unchanged on Amazon MWAA: put ``data/seattle-weather.csv`` into a bucket and set the
Airflow variable ``quickstart_bucket`` to its name. On skylift the environment's own bucket is used.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
from airflow.sdk import Variable, dag, task
from weather import chart_of, headline, summary_of, years_in

DATA = "data/seattle-weather.csv"
RESULT = "results/seattle-weather.json"
PICTURE = "results/seattle-weather.svg"


def bucket() -> str:
    """The bucket with the data: the environment's own on skylift, else the Airflow variable ``quickstart_bucket``."""
    own = os.environ.get("SKYLIFT_DAGS", "").removeprefix("s3://").split("/")[0]
    return own or Variable.get("quickstart_bucket")


def read_table() -> str:
    """The whole table (48 kB)."""
    return boto3.client("s3").get_object(Bucket=bucket(), Key=DATA)["Body"].read().decode()


@dag(schedule=None, is_paused_upon_creation=False, tags=["example"], doc_md=__doc__)
def quickstart() -> None:
    """One task finds the years, one task for each year sums it up, one task draws."""

    @task
    def find_years() -> list[int]:
        years = years_in(read_table())
        print(f"s3://{bucket()}/{DATA} covers {years}")
        return years

    @task(map_index_template="{{ year }}")
    def summarise(year: int) -> dict[str, Any]:
        from airflow.sdk import get_current_context

        get_current_context()["year"] = year  # names this mapped task in the UI
        summary = summary_of(read_table(), year)
        print(f"{year}: warmest on {summary['warmest_day']['date']}, {sum(summary['rain_mm']):.0f} mm of rain")
        return summary

    @task
    def draw(summaries: list[dict[str, Any]]) -> str:
        found = [dict(one) for one in summaries]
        text = headline(found)
        s3 = boto3.client("s3")
        result = json.dumps({"headline": text, "years": found}, indent=2)
        s3.put_object(Bucket=bucket(), Key=RESULT, Body=result.encode(), ContentType="application/json")
        s3.put_object(Bucket=bucket(), Key=PICTURE, Body=chart_of(found), ContentType="image/svg+xml")
        print(text)
        return text

    draw(summarise.expand(year=find_years()))


quickstart()
