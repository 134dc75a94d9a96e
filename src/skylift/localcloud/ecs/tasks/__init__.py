"""ECS tasks from request to STOPPED: make, launch, watch, end."""
