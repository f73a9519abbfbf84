"""The settings of this project. `crawler settings` lists all names and values; crawler/settings.py explains them.

A spider's `custom_settings`, the environment (`CRAWLER_DOWNLOAD_DELAY=0.5`) and the command line
(`-s DOWNLOAD_DELAY=0.5`) override this file. It imports nothing from the crawler.
"""

# Who you are, so that the owners of sites can reach you:
# USER_AGENT = "mybot/1.0 (+https://example.com/bot)"

# Logins; the crawler sends each to its origin only:
# HTTP_AUTH = {"https://example.com": "user:password"}

# The queue server that all machines share; without it, commands start a private server for this folder:
# REDIS_URL = "rediss://:password@queue.example.com:6379/0"

# The pace, per host and for the whole fleet:
# DOWNLOAD_DELAY = 1.0  # seconds between two requests
# CONCURRENT_REQUESTS_PER_DOMAIN = 1

# How far to go:
# DEPTH_LIMIT = 5  # links from a seed

# Private networks that the crawler may connect to; none by default:
# ALLOWED_NETWORKS = ["10.1.0.0/16"]
