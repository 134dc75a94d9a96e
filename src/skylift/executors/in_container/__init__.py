"""What goes into a container, and how: the command that runs there, its workload, and the next workload of a warm
container."""
