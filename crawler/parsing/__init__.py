"""Bytes and text in, values out: no I/O, no clock, nothing of the project imported."""
