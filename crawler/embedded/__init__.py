"""A private Valkey server for crawls on one machine."""
