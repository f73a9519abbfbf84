"""How the first URLs come into the queue."""
