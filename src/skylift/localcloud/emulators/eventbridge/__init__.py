"""EventBridge: the targets of its rules and schedules, and when schedules are due."""
