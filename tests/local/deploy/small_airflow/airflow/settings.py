"""Airflow's settings: an engine that is made after the fork."""

engine = None


def initialize() -> None:
    """Makes nothing."""
