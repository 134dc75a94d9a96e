"""EC2's network interfaces, and what EC2 and RDS refuse to delete while something uses it."""
