"""Pure functions from bytes and text to values: no I/O, no clock. They import only `errors` and `program`."""
