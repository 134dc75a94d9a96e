"""What ECS stores, and its rules: shapes, checks, lifecycles, store."""
