"""What runs inside an environment's containers: entrypoint, layer, startup script, DAG bundle from S3."""
