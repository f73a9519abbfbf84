"""Pure functions from bytes and text to values: no I/O, no clock, no imports of the project beyond its errors."""
