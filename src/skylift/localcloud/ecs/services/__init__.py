"""ECS services: deployments and the scheduler that keeps the desired count."""
