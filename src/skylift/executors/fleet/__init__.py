"""The fleet: all attempts under way, with one file for each verb."""
