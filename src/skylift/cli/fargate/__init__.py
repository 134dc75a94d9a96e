"""What the commands of ``skylift fargate`` have in common."""
