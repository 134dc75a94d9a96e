"""The operations of ECS: one file for each family of the API."""
