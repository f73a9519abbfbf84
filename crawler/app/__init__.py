"""The composition root, and one file for each command's work."""
