"""Adds the seeds to the frontier."""
