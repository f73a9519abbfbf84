"""Spiders that come with the crawler."""
