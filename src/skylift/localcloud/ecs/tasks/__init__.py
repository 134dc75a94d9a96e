"""ECS tasks from request to STOPPED: made, launched, watched, ended."""
