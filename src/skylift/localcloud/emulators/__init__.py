"""The other AWS services: the emulators ministack and moto, embedded, and what skylift adds to them."""
