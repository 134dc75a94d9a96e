"""The server: started, found, put together, stopped."""
