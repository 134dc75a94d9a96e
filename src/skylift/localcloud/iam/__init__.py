"""IAM in the local cloud: which actions and resources a call is about, who makes it, and whether it is allowed."""
