"""Misbehaviour on request: kinds, the plan of what is active, and how each is done."""
