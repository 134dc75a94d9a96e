"""AWS's protocols, served: HTTP in, operation out, driven by botocore's service models. Here *we* are AWS."""
