"""The kinds of parts, one file each, with one contract: observe, put, remove."""
