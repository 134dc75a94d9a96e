"""Load balancers: the API, health checks, and TCP forwarders that serve."""
