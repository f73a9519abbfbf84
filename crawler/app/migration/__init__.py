"""Reads a Scrapy project without importing it, and says what of it works here."""
