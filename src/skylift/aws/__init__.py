"""Our calls to AWS: typed, many at once. Only this layer makes clients and translates their errors."""
