"""AWS Batch as we call it: jobs, how they ended, queues and compute environments."""
