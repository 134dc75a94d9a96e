"""Our calls to AWS Batch: jobs, how they ended, queues and compute environments."""
