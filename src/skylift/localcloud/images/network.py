"""Which of the machine's variables containers get: those needed to reach a package registry, and the loader's path,
without which a Python with its own library does not start.

This is an allow-list, because everything else of the host (credentials above all) must stay outside of containers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_ALLOWED = re.compile(
    r"""
    LD_LIBRARY_PATH
    | SSL_CERT_FILE | SSL_CERT_DIR | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE
    | UV_(?:INDEX|INDEX_URL|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INDEX_STRATEGY|OFFLINE)
    | UV_(?:HTTP_TIMEOUT|HTTP_RETRIES|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|KEYRING_PROVIDER)
    | UV_INDEX_[A-Z0-9_]+_(?:USERNAME|PASSWORD)
    | PIP_(?:INDEX_URL|EXTRA_INDEX_URL|CERT|TRUSTED_HOST|DEFAULT_TIMEOUT)
    """,
    re.VERBOSE,
)
# Python's urllib, requests and httpx compare names, not networks: each address that a container calls must be in the
# list. 127.66.0.N are the load balancers.
_LOCAL = ("localhost", "127.0.0.1", "::1", "127.0.0.0/8", *(f"127.66.0.{number}" for number in range(1, 33)))


def network_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The network variables of a machine, ready for a container or for uv.

    Proxies come with a NO_PROXY that excludes this machine: otherwise a container's calls to the local cloud would go
    to the proxy. If a machine names its registry only for pip, uv gets it too (uv does not read PIP_*). A CA file
    of the AWS SDK is omitted: containers reach AWS only here, over plain HTTP.
    """
    chosen = {name: value for name, value in environ.items() if value and _ALLOWED.fullmatch(name)}
    if not {"UV_INDEX_URL", "UV_DEFAULT_INDEX"} & set(chosen) and "PIP_INDEX_URL" in chosen:
        chosen["UV_DEFAULT_INDEX"] = chosen["PIP_INDEX_URL"]
    if "SSL_CERT_FILE" not in chosen and "PIP_CERT" in chosen:
        chosen["SSL_CERT_FILE"] = chosen["PIP_CERT"]
    proxies = {name: value for name, value in environ.items() if value and name.lower() in _PROXIES}
    if proxies:
        bypass = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        named = [word.strip() for word in bypass.split(",") if word.strip()]
        whole = ",".join([*named, *(word for word in _LOCAL if word not in named)])
        chosen.update(proxies, NO_PROXY=whole, no_proxy=whole)
    return chosen
