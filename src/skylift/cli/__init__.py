"""The commands that a person types, and the background process that they start. No other layer imports this one."""
