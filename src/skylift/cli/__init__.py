"""The commands: what a person types, and the background process that they start. Nobody imports this layer."""
