"""Signs in to an Airflow of somebody else's, which has users and passwords (Airflow's SimpleAuthManager)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from skylift.cli.runs.airflow_api import SignIn
from skylift.core.errors import Refused, Unavailable


def password_sign_in(url: str, user: str, password: str) -> SignIn:
    """A sign-in for ``AirflowApi``."""

    def sign_in() -> str:
        request = urllib.request.Request(
            url.rstrip("/") + "/auth/token",
            json.dumps({"username": user, "password": password}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(json.load(answer)["access_token"])
        except urllib.error.HTTPError as error:
            raise Refused(error.read().decode()) from error
        except OSError as error:
            raise Unavailable(str(error)) from error

    return sign_in
