"""The rest of AWS: ministack and moto, embedded, and what skylift adds to them."""
