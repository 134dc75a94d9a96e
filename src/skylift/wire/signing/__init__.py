"""Signature Version 4: who signs, with which key, over which bytes."""
