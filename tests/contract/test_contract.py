"""Runs the contract of all backends against those that the crawler includes."""

from crawler.testing.contract import *  # noqa: F403 - as another project does
