"""The MWAA API: its operations, what they refuse, what they answer."""
