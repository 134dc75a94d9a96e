"""Documents of the fake, in the form that Anyscale's own client reads."""

from __future__ import annotations

from typing import Any

from skylift.anyscale_fake.records import JobRecord, RunRecord

CREATED = "2026-01-01T00:00:00+00:00"
USER: dict[str, Any] = {
    "id": "usr_local",
    "email": "you@localhost",
    "name": "You",
    "lastname": "",
    "username": "you",
    "verified": True,
    "organization_ids": ["org_local"],
    "organizations": [],
    "permission_level": "owner",
    "organization_permission_level": "owner",
    "ld_hash": "local",
    "ld_hash_fields": [],
    "pylon_hash": "local",
}
CREATOR = {"id": "usr_local", "name": "You", "email": "you@localhost", "username": "you"}
CLOUD: dict[str, Any] = {
    "id": "cld_local",
    "name": "local",
    "provider": "AWS",
    "region": "us-east-1",
    "credentials": "",
    "creator_id": "usr_local",
    "created_at": CREATED,
    "is_default": True,
    "type": "HOSTED",
    "customer_aggregated_logs_config_id": "local",
}
_TYPE = {"name": "head", "instance_type": "local", "resources": None}
COMPUTE: dict[str, Any] = {
    "id": "cpt_local",
    "name": "default",
    "organization_id": "org_local",
    "creator": CREATOR,
    "creator_id": "usr_local",
    "project_id": None,
    "created_at": CREATED,
    "last_modified_at": CREATED,
    "deleted_at": None,
    "archived_at": None,
    "anonymous": False,
    "version": 1,
    "config": {
        "cloud_id": "cld_local",
        "cloud": CLOUD,
        "region": "us-east-1",
        "allowed_azs": ["any"],
        "head_node_type": _TYPE,
        "worker_node_types": [],
        "max_workers": 0,
    },
}
PROJECT: dict[str, Any] = {
    "id": "prj_local",
    "name": "default",
    "description": "",
    "creator_id": "usr_local",
    "created_at": CREATED,
    "parent_cloud_id": "cld_local",
    "is_default": True,
    "is_owner": True,
    "directory_name": "default",
    "last_used_cloud_id": "cld_local",
    "is_read_only": False,
    "organization_id": "org_local",
    "cluster_config": "",
}
ENVIRONMENT: dict[str, Any] = {
    "id": "apt_local",
    "name": "default",
    "organization_id": "org_local",
    "creator_id": "usr_local",
    "project_id": None,
    "created_at": CREATED,
    "last_modified_at": CREATED,
    "is_default": True,
    "anonymous": False,
}
BUILD: dict[str, Any] = {
    "id": "bld_local",
    "cluster_environment_id": "apt_local",
    "application_template_id": "apt_local",
    "application_template": ENVIRONMENT,
    "creator": CREATOR,
    "docker_image_name": "skylift/ray:local",
    "is_byod": True,
    "status": "succeeded",
    "creator_id": "usr_local",
    "created_at": CREATED,
    "last_modified_at": CREATED,
    "revision": 1,
}
PIECE: dict[str, Any] = {
    "chunk_name": "job.log",
    "file_name": "job.log",
    "size": 0,
    "cluster_id": "ses_local",
    "session_id": "ses_local",
    "node_type": "head",
    "node_ip": "127.0.0.1",
    "instance_id": "i-local",
}
_RUN_STATES = {"PENDING": "PENDING", "RUNNING": "RUNNING", "SUCCEEDED": "SUCCEEDED", "FAILED": "FAILED"}


def job_shown(job: JobRecord, url: str) -> dict[str, Any]:
    """A job as Anyscale shows it."""
    return {
        "id": job.id,
        "name": job.body.get("name") or job.id,
        "description": "",
        "created_at": job.created_at,
        "creator_id": job.creator,
        "project_id": job.body.get("project_id") or PROJECT["id"],
        "config": {"max_retries": 0, **job.body["config"]},
        "overview_url": f"{url}/jobs/{job.id}",
        "is_service": False,
        "cloud_id": CLOUD["id"],
        "job_queue_config": None,
        "tags": job.body.get("tags"),
        "state": {
            "id": f"{job.id}-state",
            "current_state": job.state,
            "goal_state": "TERMINATED" if job.ending else "SUCCESS",
            "state_transitioned_at": job.since or job.created_at,
            "error": job.error or None,
            "operation_message": None,
            "cluster_id": "ses_local",
        },
        "last_job_run_id": next((run.id for run in reversed(job.runs) if run.task), None),
    }


def run_shown(job: JobRecord, run: RunRecord) -> dict[str, Any]:
    """A try of a job as Anyscale shows it."""
    return {
        "id": run.id,
        "name": run.id,
        "ha_job_id": job.id,
        "status": _RUN_STATES[run.state],
        "created_at": job.created_at,
        "finished_at": None,
        "cluster_id": "ses_local",
    }
