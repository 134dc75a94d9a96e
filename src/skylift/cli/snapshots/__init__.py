"""Snapshots of environments: taken, listed, put back, and made into a second environment."""
