"""From the outbox to the place where items end."""
