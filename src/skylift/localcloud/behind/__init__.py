"""Another AWS-compatible endpoint behind the local cloud: which services go to it, and how a request gets there."""
