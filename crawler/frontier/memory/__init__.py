"""The frontier in this process: `memory://`."""
