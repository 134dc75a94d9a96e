output "cluster" {
  value = aws_ecs_cluster.main.arn
}

output "job_queue" {
  value = aws_batch_job_queue.main.arn
}

output "web" {
  value = aws_lb.web.dns_name
}
