"""The operations of ECS: one file for each subject of the API."""
