"""The MWAA API: its operations, what they refuse, and what they answer."""
