"""What ECS keeps and its rules: shapes, checks, lifecycles, store."""
