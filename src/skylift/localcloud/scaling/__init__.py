"""Application Auto Scaling: changes the desired count of ECS services by metrics, alarms and the clock."""
