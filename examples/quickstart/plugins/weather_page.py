"""A page in Airflow's navigation ("Seattle weather") with the picture that the quickstart DAG draws."""

from __future__ import annotations

import html
import json
import os

import boto3
from airflow.api_fastapi.core_api.security import get_user
from airflow.plugins_manager import AirflowPlugin
from botocore.exceptions import ClientError
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, Response

RESULT = "results/seattle-weather.json"
PICTURE = "results/seattle-weather.svg"
PAGE = """<!doctype html><meta charset="utf-8"><title>Seattle weather</title>
<style>body{{font:16px/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;background:#fff;color:#222}}
img{{width:100%;height:auto}}</style>
<h1>Seattle weather</h1><p>{text}</p>{picture}
<p><small>Data: NOAA, public domain. Drawn by the DAG <b>quickstart</b>.</small></p>"""

# Airflow does not protect a plugin's own pages: each route asks who is there.
app = FastAPI(title="Seattle weather", dependencies=[Depends(get_user)])


def read(key: str) -> bytes | None:
    """An object of the environment's bucket; None when the DAG has not written it yet."""
    bucket = os.environ.get("SKYLIFT_DAGS", "").removeprefix("s3://").split("/")[0]
    try:
        return boto3.client("s3").get_object(Bucket=bucket or os.environ["QUICKSTART_BUCKET"], Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    """The page; it says so when there is no result yet."""
    result = read(RESULT)
    if result is None:
        return PAGE.format(text="No result yet: trigger the DAG <b>quickstart</b>.", picture="")
    text = html.escape(json.loads(result)["headline"])
    return PAGE.format(text=text, picture='<img src="chart.svg" alt="Mean daily maximum by month, one line a year">')


@app.get("/chart.svg")
def chart() -> Response:
    """The picture itself."""
    picture = read(PICTURE)
    return Response(picture or b"", 200 if picture else 404, media_type="image/svg+xml")


class WeatherPage(AirflowPlugin):
    """Tells Airflow about the page: the app, and where it stands in the navigation."""

    name = "weather_page"
    fastapi_apps = [{"name": "weather", "app": app, "url_prefix": "/weather"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Seattle weather", "href": "/weather/", "url_route": "seattle-weather", "destination": "nav"}
    ]
