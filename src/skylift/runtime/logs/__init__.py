"""Logs that are kept under the names that MWAA has for them."""
