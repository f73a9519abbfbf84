"""Defines, finds and checks spiders, and runs their callbacks."""
