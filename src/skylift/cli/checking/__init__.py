"""What ``skylift check`` does: which Python reads the project, what is known from the last time, how it is told."""
