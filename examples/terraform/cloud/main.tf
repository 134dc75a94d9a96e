# ECS, AWS Batch, S3, SQS and logs on a skylift local cloud. Nothing here is special to skylift but the provider's block.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

# The endpoint, the region and the keys come from `eval "$(skylift shellenv)"`: AWS_ENDPOINT_URL and so on.
provider "aws" {
  s3_use_path_style = true # bucket.127.0.0.1 is no host name
}

resource "aws_s3_bucket" "results" {
  bucket        = "terraform-results"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "results" {
  bucket = aws_s3_bucket.results.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_sqs_queue" "orders" {
  name = "terraform-orders"
}

resource "aws_cloudwatch_log_group" "work" {
  name              = "/terraform/work"
  retention_in_days = 7
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "work" {
  name               = "terraform-work"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_vpc" "main" {
  cidr_block = "10.7.0.0/16"
}

resource "aws_subnet" "main" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.7.1.0/24"
}

resource "aws_security_group" "main" {
  name   = "terraform-work"
  vpc_id = aws_vpc.main.id
}

resource "aws_ecs_cluster" "main" {
  name = "terraform"
  tags = { team = "blue" }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

resource "aws_ecs_task_definition" "work" {
  family                   = "terraform-work"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.work.arn
  task_role_arn            = aws_iam_role.work.arn
  container_definitions = jsonencode([{
    name      = "main"
    image     = var.image
    essential = true
    command   = ["sh", "-c", "while :; do sleep 1; done"]
    environment = [
      { name = "BUCKET", value = aws_s3_bucket.results.bucket },
    ]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.work.name
        awslogs-region        = "us-east-1"
        awslogs-stream-prefix = "work"
      }
    }
  }])
}

resource "aws_ecs_service" "work" {
  name                  = "work"
  cluster               = aws_ecs_cluster.main.id
  task_definition       = aws_ecs_task_definition.work.arn
  desired_count         = var.desired_count
  launch_type           = "FARGATE"
  wait_for_steady_state = true
  network_configuration {
    subnets         = [aws_subnet.main.id]
    security_groups = [aws_security_group.main.id]
  }
}

resource "aws_appautoscaling_target" "work" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.work.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.desired_count
  max_capacity       = 4
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.work.service_namespace
  resource_id        = aws_appautoscaling_target.work.resource_id
  scalable_dimension = aws_appautoscaling_target.work.scalable_dimension
  target_tracking_scaling_policy_configuration {
    target_value = 75
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "new_year" {
  name               = "new-year"
  service_namespace  = aws_appautoscaling_target.work.service_namespace
  resource_id        = aws_appautoscaling_target.work.resource_id
  scalable_dimension = aws_appautoscaling_target.work.scalable_dimension
  schedule           = "cron(0 8 1 1 ? *)"
  timezone           = "Europe/Berlin"
  scalable_target_action {
    min_capacity = 1
    max_capacity = 2
  }
}

resource "aws_batch_compute_environment" "main" {
  compute_environment_name = "terraform"
  type                     = "MANAGED"
  compute_resources {
    type               = "FARGATE"
    max_vcpus          = 4
    subnets            = [aws_subnet.main.id]
    security_group_ids = [aws_security_group.main.id]
  }
}

resource "aws_batch_scheduling_policy" "fair" {
  name = "terraform-fair"
  fair_share_policy {
    compute_reservation = 1
    share_decay_seconds = 3600
    share_distribution {
      share_identifier = "reports*"
      weight_factor    = 0.5
    }
  }
}

resource "aws_batch_job_queue" "main" {
  name                  = "terraform"
  state                 = "ENABLED"
  priority              = 1
  scheduling_policy_arn = aws_batch_scheduling_policy.fair.arn
  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.main.arn
  }
}

resource "aws_batch_job_definition" "work" {
  name                  = "terraform-work"
  type                  = "container"
  platform_capabilities = ["FARGATE"]
  container_properties = jsonencode({
    image            = var.image
    command          = ["sh", "-c", "echo from Terraform"]
    executionRoleArn = aws_iam_role.work.arn
    resourceRequirements = [
      { type = "VCPU", value = "0.25" },
      { type = "MEMORY", value = "512" },
    ]
  })
  retry_strategy {
    attempts = 2
  }
}
