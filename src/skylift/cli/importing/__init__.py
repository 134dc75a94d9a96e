"""``skylift env import``: a project from an environment of Amazon MWAA, or of any endpoint that speaks its API."""
