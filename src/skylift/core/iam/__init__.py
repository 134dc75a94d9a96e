"""IAM's policy language and its evaluation, without I/O: what a caller may do, and which statement decides it."""
