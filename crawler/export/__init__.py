"""Moves items from the outbox to a sink."""
