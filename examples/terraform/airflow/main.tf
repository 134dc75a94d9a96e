# An Airflow environment on a skylift, described as one describes it for Amazon MWAA.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

# The other endpoints, the region and the keys come from `eval "$(skylift shellenv)"`.
provider "aws" {
  s3_use_path_style = true # bucket.127.0.0.1 is no host name
  endpoints {
    # Terraform asks for api.mwaa.test, a name that does not exist: it only goes through HTTP_PROXY, see README.md.
    mwaa = "http://mwaa.test:${var.port}"
  }
}

resource "aws_s3_bucket" "dags" {
  bucket        = "terraform-airflow"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "dags" {
  bucket = aws_s3_bucket.dags.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_object" "dag" {
  bucket = aws_s3_bucket.dags.bucket
  key    = "dags/hello.py"
  source = "${path.module}/dags/hello.py"
  etag   = filemd5("${path.module}/dags/hello.py")
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "airflow" {
  name               = "terraform-airflow"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_vpc" "main" {
  cidr_block = "10.8.0.0/16"
}

resource "aws_subnet" "private" {
  count      = 2
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.8.${count.index + 1}.0/24"
}

resource "aws_security_group" "airflow" {
  name   = "terraform-airflow"
  vpc_id = aws_vpc.main.id
}

resource "aws_mwaa_environment" "main" {
  name               = "terraform"
  dag_s3_path        = "dags"
  source_bucket_arn  = aws_s3_bucket.dags.arn
  execution_role_arn = aws_iam_role.airflow.arn
  environment_class  = "mw1.small"
  max_workers        = 5

  airflow_configuration_options = {
    "core.default_timezone" = "Europe/Berlin"
  }

  logging_configuration {
    task_logs {
      enabled   = true
      log_level = "INFO"
    }
    scheduler_logs {
      enabled   = true
      log_level = "WARNING"
    }
  }

  network_configuration {
    security_group_ids = [aws_security_group.airflow.id]
    subnet_ids         = aws_subnet.private[*].id
  }

  tags = { team = "blue" }

  depends_on = [aws_s3_bucket_versioning.dags, aws_s3_object.dag]
}
