"""S3: what ministack's memory and the disk must agree on."""
