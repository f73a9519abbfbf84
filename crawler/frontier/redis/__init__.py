"""The frontier on a Redis or Valkey server: each transition is one script in `lua/`."""
