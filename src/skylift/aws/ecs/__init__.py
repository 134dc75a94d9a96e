"""Our calls to ECS: tasks, how they ended, services."""
