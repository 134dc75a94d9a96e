"""Snapshots of an environment's database: written to S3 from a consistent view, and put back in one transaction."""
