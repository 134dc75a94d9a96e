"""Signs in to an environment's Airflow as MWAA documents it: a web token from the MWAA API, then Airflow's session."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from http.cookies import SimpleCookie
from typing import Any

from skylift.aws.errors import calling
from skylift.core.errors import Refused, Unavailable

PAGE = "/aws_mwaa/aws-console-sso?login=true#"
LOGIN = "/aws_mwaa/login"
SECONDS = 30.0


class WebSignIn:
    """Sign-in to one environment with this process's AWS credentials.

    Args:
        mwaa: boto3's client.
    """

    def __init__(self, mwaa: Any, environment: str) -> None:
        self._mwaa = mwaa
        self._environment = environment

    def link(self) -> str:
        """A link that signs a browser in, once, within 60 seconds."""
        url, token = self._token()
        return url + PAGE + token

    def session(self) -> str:
        """A session of twelve hours: the bearer token of Airflow's API.

        Raises:
            Refused: the policies allow no role, or the environment has another way to sign in.
            Unavailable: Airflow does not answer.
        """
        url, token = self._token()
        form = urllib.parse.urlencode({"token": token}).encode()
        # Loopback addresses: a proxy of this machine could not reach them.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url + LOGIN, form, timeout=SECONDS) as answer:
                cookie = SimpleCookie(answer.headers.get("Set-Cookie", "")).get("_token")
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise Unavailable(f"Airflow's sign-in at {url} answers {error.code}") from error
            raise Refused(_said(error)) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise Unavailable(f"Airflow at {url} does not answer: {error}") from error
        if cookie is None:
            raise Refused(f"Airflow at {url} has made no session at sign-in.")
        return cookie.value

    def _token(self) -> tuple[str, str]:
        with calling(f"mwaa CreateWebLoginToken {self._environment}"):
            found = self._mwaa.create_web_login_token(Name=self._environment)
        return f"http://{found['WebServerHostname']}", str(found["WebToken"])


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return f"Airflow's sign-in answers {error.code}."
