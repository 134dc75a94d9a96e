"""AWS Batch that runs things: a job attempt is an ECS task of our own ECS, in a cluster that belongs to its compute
environment."""
