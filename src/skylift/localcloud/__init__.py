"""The local cloud: an AWS endpoint on one machine in which containers really run, as processes."""
