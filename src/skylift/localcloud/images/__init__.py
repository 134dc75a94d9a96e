"""Images: virtual environments, built once, found by reference."""
