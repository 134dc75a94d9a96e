"""``skylift.toml`` and ``.env``: what they may hold, how they are read, and how an environment becomes as they say."""
