"""A page in Airflow's navigation ("Seattle weather") with the picture that the quickstart DAG draws."""

from __future__ import annotations

import html
import json
import os

import boto3
from airflow.plugins_manager import AirflowPlugin
from botocore.exceptions import ClientError
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, Response

RESULT = "results/seattle-weather.json"
PICTURE = "results/seattle-weather.svg"
PAGE = """<!doctype html><meta charset="utf-8"><title>Seattle weather</title>
<style>body{{font:16px/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;background:#fff;color:#222}}
img{{width:100%;height:auto}}</style>
<h1>Seattle weather</h1><p>{text}</p>{picture}
<p><small>Data: NOAA, public domain. Drawn by the DAG <b>quickstart</b>.</small></p>"""


async def signed_in(request: Request) -> None:
    """Airflow does not protect a plugin's own pages: ask who is there, as its own pages do. 401 for nobody."""
    # Every component imports plugins, but only the API server serves pages: this import costs the others 40 MB.
    from airflow.api_fastapi.core_api.security import resolve_user_from_token

    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    await resolve_user_from_token(bearer or request.cookies.get("_token"))


app = FastAPI(title="Seattle weather", dependencies=[Depends(signed_in)])


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
