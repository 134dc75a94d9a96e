"""The contract between control plane and runtime: what an environment's containers are told, in words both know.

The control plane writes these settings into task definitions; the runtime's entrypoint reads them. Neither imports the
other.
"""

from __future__ import annotations

from enum import StrEnum

from skylift.core.settings import Setting, whole_number


class Command(StrEnum):
    """The first word of a container's command, as the runtime's entrypoint knows it.

    Anything else is run as it is (``exec``), after the layer and the startup script are in place.
    """

    API_SERVER = "api-server"
    SCHEDULER = "scheduler"
    DAG_PROCESSOR = "dag-processor"
    TRIGGERER = "triggerer"
    MIGRATE = "migrate"
    BUILD_LAYER = "build-layer"
    PROVE = "prove"
    WORKER = "worker"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"


ENTRYPOINT = ("python", "-m", "skylift.runtime")
"""``entryPoint`` of every container of an environment."""

CONTAINER_NAME = "airflow"
"""Name of the one essential container in every task definition of an environment."""

WEB_PORT = 8080
"""Port on which an environment's API server listens, on its task's own address."""

ENVIRONMENT = Setting("environment", str, "", "Name of the environment to which this container belongs.")
BUNDLE = Setting("dags", str, "", "Where the DAGs are: s3://bucket/prefix.")
LAYER = Setting(
    "layer", str, "", "Archive with installed requirements and plugins: s3://bucket/key of a .tar.gz; empty: none."
)
LAYER_CACHE = Setting(
    "layer_cache",
    str,
    "/tmp/skylift-layers",  # noqa: S108 - in a container; each container's own
    "Folder for unpacked layers, by digest.",
)
DAG_CACHE = Setting(
    "dag_cache",
    str,
    "",
    "Folder in which the containers of one machine share fetched DAG files; empty: each container fetches its own.",
)
S3_DAGS = Setting(
    "s3_dags",
    str,
    "",
    "s3://bucket/prefix whose files are copied to Airflow's DAG folder when the container starts; empty: none.",
)
STARTUP_SCRIPT = Setting("startup_script", str, "", "startup.sh as s3://bucket/key?versionId=...; empty: none.")
REQUIREMENTS = Setting("requirements", str, "", "build-layer: requirements.txt as s3://bucket/key?versionId=...")
PLUGINS = Setting("plugins", str, "", "build-layer: plugins.zip as s3://bucket/key?versionId=...")
LAYER_TARGET = Setting(
    "layer_target",
    str,
    "",
    "build-layer: s3://bucket/prefix for layer.tar.gz and result.json.",
)
PROOF_TARGET = Setting("proof_target", str, "", "prove: s3://bucket/key to which the result (JSON) is put.")
PROOF_OPTIONS = Setting(
    "proof_options", str, "", "prove: environment variables that hold the user's options, with commas between."
)
SERVING_LAYER = Setting("serving_layer", str, "", "prove: the layer that serves now; empty when none.")
SERVING_STARTUP_SCRIPT = Setting(
    "serving_startup_script", str, "", "prove: the startup.sh that serves now; empty when there is none."
)
STARTUP_SECONDS = Setting(
    "startup_seconds", whole_number(1, 295), 295, "Seconds that startup.sh may take (MWAA: 5 minutes less 5 seconds)."
)
INSTALL_LOG_GROUPS = Setting(
    "install_log_groups",
    str,
    "",
    "Log groups, separated by commas, that also get the logs of startup.sh and of the installation of requirements, "
    "under MWAA's stream names.",
)
METRICS_SECONDS = Setting(
    "metrics_seconds",
    whole_number(0, 3600),
    60,
    "Seconds between two sendings of a component's metrics to CloudWatch; 0: only at its end, as an Airflow task.",
)
TOKEN_KEY = Setting(
    "token_key",
    str,
    "",
    "API server: public key of the control plane, by which it knows sign-in tokens; empty: nobody can sign in by one.",
)

CONTAINER_SETTINGS = (
    ENVIRONMENT,
    BUNDLE,
    LAYER,
    LAYER_CACHE,
    DAG_CACHE,
    S3_DAGS,
    STARTUP_SCRIPT,
    REQUIREMENTS,
    PLUGINS,
    LAYER_TARGET,
    PROOF_TARGET,
    PROOF_OPTIONS,
    SERVING_LAYER,
    SERVING_STARTUP_SCRIPT,
    STARTUP_SECONDS,
    INSTALL_LOG_GROUPS,
    METRICS_SECONDS,
    TOKEN_KEY,
)

MWAA_HOME = "/usr/local/airflow"
"""AIRFLOW_HOME on MWAA."""

BUNDLE_NAME = "dags"
"""Airflow's name for the bundle of an environment's DAGs."""

LAYER_RESULT = "result.json"
"""Key below LAYER_TARGET: ``{"ok": bool, "code": str, "reason": str, "archive": "layer.tar.gz" | ""}``."""

LAYER_ARCHIVE = "layer.tar.gz"
"""Key below LAYER_TARGET: ``site-packages/`` (requirements) and ``plugins/`` (plugins.zip unpacked)."""


class ProofFault(StrEnum):
    """``code`` of a proof that failed; also the ErrorCode of ``LastUpdate.Error``. Result:
    ``{"ok": bool, "code": str, "reason": str, "notes": [str]}``."""

    STARTUP_SCRIPT_FAILED = "STARTUP_SCRIPT_FAILED"
    CONFIGURATION_FAILED = "INCORRECT_CONFIGURATION"
    DAGS_FAILED = "DAGS_FAILED"
    START_FAILED = "AIRFLOW_START_FAILED"


class LayerFault(StrEnum):
    """``code`` of a layer result that is not ok; also the ErrorCode of ``LastUpdate.Error``."""

    REQUIREMENTS_FAILED = "REQUIREMENTS_FAILED"
    PLUGINS_FAILED = "PLUGINS_FAILED"
    STARTUP_SCRIPT_FAILED = "STARTUP_SCRIPT_FAILED"
    REGISTRY_UNREACHABLE = "REGISTRY_UNREACHABLE"
