"""A project's folder and its bucket."""
