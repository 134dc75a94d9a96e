"""The server: how it is put together, started, found and stopped."""
