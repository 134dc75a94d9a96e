"""The pure heart: words, decisions and tables. Standard library only, no I/O, no clock is read here."""
