"""The fleet: how attempts are flown, each verb in its own file."""
