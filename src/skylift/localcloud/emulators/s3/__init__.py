"""S3: keeps ministack's memory and the disk in agreement."""
