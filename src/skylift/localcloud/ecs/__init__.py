"""ECS that really runs things: clusters, task definitions, ECS tasks and services; a container is a process group."""
