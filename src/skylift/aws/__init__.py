"""The AWS calls that we make: typed, many at once. The only place that makes clients and translates their errors."""
