"""The control plane: MWAA's API, and the reconciler that makes environments what they should be."""
