"""Terraform with the AWS provider, unmodified, on our examples: apply, an empty plan, a change, destroy.

The provider sleeps a lot, whatever it is answered (cluster 10 s, SQS 25 s, job queue 30 s); so both examples go at the
same time.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import ssl
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.local.batch_cloud import submit, until, wait_for
from tests.local.ecs_cloud import IMAGE, Cloud
from tests.local.elb_cloud import free_port
from tests.local.terraform import Terraform, ready
from tests.local.upstream_cloud import environ, no_mistakes, shell_variables, upstream_cloud
from tests.stack import Stack

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(1800)]


STARTUP = """
resource "aws_s3_object" "startup" {
  bucket  = aws_s3_bucket.dags.bucket
  key     = "scripts/startup.sh"
  content = "export FROM_STARTUP=yes"
}
"""
REQUIREMENTS = """
resource "aws_s3_object" "requirements" {
  bucket  = aws_s3_bucket.dags.bucket
  key     = "requirements.txt"
  content = "nosuchpackage-xyz==9.9"
}
"""
UNUSUAL = """
resource "aws_mwaa_environment" "main" {
  dag_s3_path                     = "dags/"
  source_bucket_arn               = replace(aws_s3_bucket.dags.arn, "arn:aws:", "arn:aws-cn:")
  startup_script_s3_path          = aws_s3_object.startup.key
  endpoint_management             = "SERVICE"
  kms_key                         = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012"
  max_webservers                  = 3
  max_workers                     = 3
  min_webservers                  = 1
  min_workers                     = 2
  schedulers                      = 1
  webserver_access_mode           = "PUBLIC_ONLY"
  weekly_maintenance_window_start = "TUE:03:30"

  logging_configuration {
    task_logs {
      enabled   = true
      log_level = "DEBUG"
    }
    webserver_logs {
      enabled   = false
      log_level = "ERROR"
    }
  }
}
"""
"""What people write in other forms than our example does: after apply, nothing is left to change."""
CHANGED = """
resource "aws_s3_object" "flows" {
  bucket = aws_s3_bucket.dags.bucket
  key    = "flows/hello.py"
  source = "${path.module}/dags/hello.py"
}

resource "aws_s3_object" "needs" {
  bucket  = aws_s3_bucket.dags.bucket
  key     = "needs.txt"
  content = "pyjokes"
}

resource "aws_s3_object" "plugins" {
  bucket         = aws_s3_bucket.dags.bucket
  key            = "plugins.zip"
  content_base64 = var.plugins
}

variable "plugins" {
  type = string
}

resource "aws_iam_role" "other" {
  name               = "terraform-other"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_security_group" "other" {
  name   = "terraform-other"
  vpc_id = aws_vpc.main.id
}
"""
EVERY_ARGUMENT = """
resource "aws_mwaa_environment" "main" {
  dag_s3_path                     = "flows"
  source_bucket_arn               = replace(aws_s3_bucket.dags.arn, "arn:aws:", "arn:aws-cn:")
  endpoint_management             = "SERVICE"
  environment_class               = "mw1.medium"
  execution_role_arn              = aws_iam_role.other.arn
  kms_key                         = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012"
  max_webservers                  = 2
  max_workers                     = 4
  min_webservers                  = 2
  min_workers                     = 1
  plugins_s3_path                 = aws_s3_object.plugins.key
  plugins_s3_object_version       = aws_s3_object.plugins.version_id
  requirements_s3_path            = aws_s3_object.needs.key
  requirements_s3_object_version  = aws_s3_object.needs.version_id
  schedulers                      = 2
  webserver_access_mode           = "PRIVATE_ONLY"
  weekly_maintenance_window_start = "WED:04:00"

  airflow_configuration_options = {
    "core.default_timezone" = "Asia/Tokyo"
  }

  logging_configuration {
    dag_processing_logs {
      enabled   = true
      log_level = "WARNING"
    }
    scheduler_logs {
      enabled   = true
      log_level = "ERROR"
    }
    task_logs {
      enabled   = true
      log_level = "INFO"
    }
    webserver_logs {
      enabled   = true
      log_level = "WARNING"
    }
    worker_logs {
      enabled   = true
      log_level = "CRITICAL"
    }
  }

  network_configuration {
    security_group_ids = [aws_security_group.other.id]
    subnet_ids         = aws_subnet.private[*].id
  }

  tags = { team = "green", owner = "me" }
}
"""
"""Every argument that Terraform changes without making another environment, with another value (a startup script goes)."""


@pytest.fixture(scope="module")
def cloud_round(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[None]]:
    """The round of ``cloud``, in a thread."""
    folder = tmp_path_factory.mktemp("terraform")
    with upstream_cloud(folder / "home") as cloud, ThreadPoolExecutor(1) as pool:
        yield pool.submit(_ecs_batch_and_s3, cloud, folder)


def test_mwaa_environment(cloud_round: Future[None], stack: Stack, tmp_path: Path) -> None:
    port = str(json.loads((stack.home / "server.json").read_text())["port"])
    profile = shell_variables(stack.must("shellenv"))
    # Plain http goes through the proxy, which is skylift itself: it knows the name of MWAA's endpoint.
    proxy = {"HTTP_PROXY": f"http://127.0.0.1:{port}", "TF_VAR_port": port}
    made = ready("airflow", tmp_path / "airflow", {**stack.environ, **profile, **proxy})
    (made.folder / "startup.tf").write_text(STARTUP)
    (made.folder / "unusual_override.tf").write_text(UNUSUAL)
    made.apply()
    found = stack.client("mwaa").get_environment(Name="terraform")["Environment"]
    assert (found["Status"], found["Arn"]) == ("AVAILABLE", made.outputs()["arn"])
    assert found["AirflowConfigurationOptions"] == {"core.default_timezone": "Europe/Berlin"}
    assert found["Tags"] == {"team": "blue"}
    assert found["DagS3Path"] == "dags/"
    airflow = stack.airflow("terraform")
    wait_for(lambda: set(airflow.dags()) == {"hello"}, 120)
    made = _updates(stack, made)
    made.destroy()
    assert "terraform" not in stack.client("mwaa").list_environments()["Environments"]
    assert "terraform-airflow" not in [bucket["Name"] for bucket in stack.client("s3").list_buckets()["Buckets"]]


def _updates(stack: Stack, made: Terraform) -> Terraform:
    (made.folder / "changed.tf").write_text(CHANGED)
    (made.folder / "unusual_override.tf").write_text(EVERY_ARGUMENT)
    made = Terraform(made.folder, {**made.environ, "TF_VAR_plugins": _plugins()})
    made.apply()
    found = stack.client("mwaa").get_environment(Name="terraform")["Environment"]
    numbers = ("MinWorkers", "MaxWorkers", "Schedulers", "MinWebservers", "MaxWebservers")
    assert [found[one] for one in numbers] == [1, 4, 2, 2, 2]
    assert (found["DagS3Path"], found["EnvironmentClass"]) == ("flows", "mw1.medium")
    assert (found["RequirementsS3Path"], found["PluginsS3Path"]) == ("needs.txt", "plugins.zip")
    assert found["ExecutionRoleArn"].endswith("/terraform-other")
    assert found["AirflowConfigurationOptions"] == {"core.default_timezone": "Asia/Tokyo"}
    assert (found["WeeklyMaintenanceWindowStart"], found["WebserverAccessMode"]) == ("WED:04:00", "PRIVATE_ONLY")
    levels = {name: one["LogLevel"] for name, one in found["LoggingConfiguration"].items()}
    assert (levels["WebserverLogs"], levels["WorkerLogs"]) == ("WARNING", "CRITICAL")
    assert found["Tags"] == {"team": "green", "owner": "me"}
    assert "StartupScriptS3Path" not in found
    (made.folder / "requirements.tf").write_text(REQUIREMENTS)
    broken = EVERY_ARGUMENT.replace("aws_s3_object.needs.", "aws_s3_object.requirements.")
    (made.folder / "unusual_override.tf").write_text(broken)
    done = made.run("apply", "-auto-approve", "-no-color", "-input=false")
    assert done.returncode != 0
    assert "REQUIREMENTS_FAILED: line 1: nosuchpackage-xyz==9.9: No solution found" in " ".join(done.stderr.split())
    return made


def _plugins() -> str:
    """A plugins.zip with one plugin, in base64."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        text = "from airflow.plugins_manager import AirflowPlugin\nclass Mine(AirflowPlugin):\n    name = 'mine'\n"
        file.writestr("mine.py", text)
    return base64.b64encode(packed.getvalue()).decode()


def test_ecs_batch_and_s3(cloud_round: Future[None]) -> None:
    cloud_round.result()


def _ecs_batch_and_s3(cloud: Cloud, folder: Path) -> None:
    ports = {"TF_VAR_plain_port": str(free_port()), "TF_VAR_encrypted_port": str(free_port())}
    variables = environ(cloud.url, folder, TF_VAR_image=IMAGE, **ports)
    made = ready("cloud", folder / "cloud", variables)
    with no_mistakes():
        made.apply()
        _what_it_made_works(cloud, made)
        _its_web_is_encrypted(cloud, made)
        two = Terraform(made.folder, {**variables, "TF_VAR_desired_count": "2"})
        two.apply()
        assert _service(cloud)["runningCount"] == 2
        _without_queue(cloud.client("batch"))
        two.destroy()
    environments = cloud.client("batch").describe_compute_environments()["computeEnvironments"]
    assert environments == []
    assert cloud.client("acm").list_certificates()["CertificateSummaryList"] == []
    assert cloud.client().describe_clusters(clusters=["terraform"])["clusters"][0]["status"] == "INACTIVE"
    assert cloud.client("s3").list_buckets()["Buckets"] == []


def _what_it_made_works(cloud: Cloud, made: Terraform) -> None:
    batch = cloud.client("batch")
    assert (
        until(batch, submit(batch, "terraform-work", "terraform", shareIdentifier="reports1"))["status"] == "SUCCEEDED"
    )
    service = _service(cloud)
    assert service["runningCount"] == 1
    assert service["clusterArn"] == made.outputs()["cluster"]
    assert made.outputs()["job_queue"] == batch.describe_job_queues()["jobQueues"][0]["jobQueueArn"]
    cloud.client("s3").put_object(Bucket="terraform-results", Key="one", Body=b"destroy takes it along")


def _its_web_is_encrypted(cloud: Cloud, made: Terraform) -> None:
    context = ssl.create_default_context(cafile=str(cloud.home / "authority" / "ca.pem"))
    address = made.outputs()["web"]
    plain = http.client.HTTPConnection(address, int(made.environ["TF_VAR_plain_port"]), timeout=30)
    plain.request("GET", "/x", headers={"Host": "a.web.example.org"})
    port = int(made.environ["TF_VAR_encrypted_port"])
    assert plain.getresponse().headers["Location"] == f"https://a.web.example.org:{port}/x"
    plain.close()
    with (
        socket.create_connection((address, port), 30) as bare,
        context.wrap_socket(bare, server_hostname="a.web.example.org") as encrypted,
    ):
        encrypted.sendall(b"GET / HTTP/1.1\r\nHost: a.web.example.org\r\n\r\n")
        answer = http.client.HTTPResponse(encrypted)
        answer.begin()
        assert answer.read() == b"encrypted"


def _without_queue(batch: Any) -> None:
    """Deletes the queue behind Terraform's back: its provider would sleep for a minute around that (it works: 64 s)."""
    queue = {"jobQueues": ["terraform"]}
    batch.update_job_queue(jobQueue="terraform", state="DISABLED")
    wait_for(lambda: batch.describe_job_queues(**queue)["jobQueues"][0]["status"] == "VALID")
    batch.delete_job_queue(jobQueue="terraform")
    wait_for(lambda: not batch.describe_job_queues(**queue)["jobQueues"])


def _service(cloud: Cloud) -> dict[str, Any]:
    return dict(cloud.client().describe_services(cluster="terraform", services=["work"])["services"][0])
