"""AWS Batch that really runs things: a job's attempt is an ECS task of our own ECS, in the cluster of its compute
environment."""
