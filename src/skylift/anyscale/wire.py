"""Anyscale's HTTP API: paths, states and names. A change of Anyscale's API changes this file, and nothing else here.

Anyscale does not document these addresses. They are those that its own client uses; nobody has tried this module with
an account of Anyscale yet (docs/anyscale.md).
"""

from __future__ import annotations

from urllib.parse import quote

DEFAULT_HOST = "https://console.anyscale.com"
COOKIE = "cli_token"
"""The API key travels in this cookie."""

USER = "/api/v2/userinfo/"
DEFAULT_CLOUD = "/ext/v0/clouds/default"
FIND_CLOUD = "/api/v2/clouds/find_by_name"
DEFAULT_COMPUTE = "/ext/v0/cluster_computes/default"
SEARCH_COMPUTE = "/api/v2/compute_templates/search"
DEFAULT_PROJECT = "/ext/v0/projects/default_project"
SEARCH_PROJECT = "/ext/v0/projects/search"
DEFAULT_BUILD = "/ext/v0/cluster_environment_builds/default"
BUILD_OF_IMAGE = "/api/v2/builds/get_or_create_build_from_image_uri"
SEARCH_ENVIRONMENT = "/ext/v0/cluster_environments/search"
ENVIRONMENTS = "/ext/v0/cluster_environments/"
BUILDS = "/ext/v0/cluster_environment_builds/"
CREATE_JOB = "/api/v2/decorated_ha_jobs/create"
LIST_JOBS = "/api/v2/decorated_ha_jobs/"
SEARCH_RUNS = "/api/v2/decorated_ha_jobs/job_runs/search"
LIST_SERVICES = "/api/v2/services-v2/"
APPLY_SERVICE = "/api/v2/services-v2/apply"

DEFAULT_IMAGE = {"python_version": "py311", "ray_version": "2.59.0"}
"""Of jobs and services that name no image: what the vendor's client 0.26.112 asks for."""

BUILT_IMAGES = "anyscale/image/"
"""How the ``image_uri`` of an image that Anyscale built begins; its name and revision follow."""
BUILD_SUCCEEDED = frozenset({"succeeded"})
BUILD_UNDER_WAY = frozenset({"pending", "in_progress"})

JOB_WORDS = {
    "PENDING": "STARTING",
    "AWAITING_CLUSTER_START": "STARTING",
    "UPDATING": "RUNNING",
    "RUNNING": "RUNNING",
    "RESTARTING": "RUNNING",
    "CLEANING_UP": "RUNNING",
    "ERRORED": "RUNNING",
    "SUCCESS": "SUCCEEDED",
    "BROKEN": "FAILED",
    "OUT_OF_RETRIES": "FAILED",
    "TERMINATED": "TERMINATED",
}
"""What Anyscale's own client calls each state. ``ERRORED`` is not the end: Anyscale may try again."""

JOB_OVER = frozenset({"SUCCEEDED", "FAILED", "TERMINATED"})
"""Words of states in which a job stays."""

SERVICE_FAILED = frozenset({"SYSTEM_FAILURE", "USER_ERROR_FAILURE", "TERMINATED"})
"""States from which a rollout does not recover. ``UNHEALTHY`` is not one of them: it is usual while one is under
way."""


def compute(one: str) -> str:
    """One compute config."""
    return f"/ext/v0/cluster_computes/{quote(one, safe='')}"


def presigned(cloud: str) -> str:
    """Where to ask for an address to upload a package to."""
    return f"/api/v2/clouds/{quote(cloud, safe='')}/generate_cloud_data_bucket_presigned_url"


def job(one: str) -> str:
    """One job, with its state."""
    return f"/ext/v0/production_jobs/{quote(one, safe='')}"


def terminate_job(one: str) -> str:
    """Ends a job."""
    return f"{job(one)}/terminate"


def job_logs(run: str) -> str:
    """Addresses of the pieces of one job run's log."""
    return f"/api/v2/logs/job_logs_download_v2/{quote(run, safe='')}"


def service(one: str) -> str:
    """One service."""
    return f"/api/v2/services-v2/{quote(one, safe='')}"


def build(one: str) -> str:
    """One build of an image."""
    return f"{BUILDS}{quote(one, safe='')}"


def job_page(host: str, one: str) -> str:
    """A job's page, for people."""
    return f"{host.rstrip('/')}/jobs/{quote(one, safe='')}"


def service_page(host: str, one: str) -> str:
    """A service's page, for people."""
    return f"{host.rstrip('/')}/services/{quote(one, safe='')}"


def build_page(host: str, environment: str, one: str) -> str:
    """An image build's page, for people."""
    return f"{host.rstrip('/')}/v2/container-images/{quote(environment, safe='')}/versions/{quote(one, safe='')}"
