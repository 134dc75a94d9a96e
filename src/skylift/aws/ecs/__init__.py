"""ECS as we call it: tasks, how they ended, services."""
