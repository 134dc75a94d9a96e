"""Containers as processes: runners, templates that are forked, the shim that outlives the server, and podman or
Docker."""
