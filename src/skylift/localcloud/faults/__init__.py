"""Injected faults: kinds, the active ones, and their effects."""
