"""The contract of all backends, kept by those that ship."""

from crawler.testing.contract import *  # noqa: F403 - as another project does
