"""This deployment's own settings. All of them, with unit, default and meaning: `crawler settings`.

Stronger than this file: a spider's `custom_settings`, the environment (`CRAWLER_DOWNLOAD_DELAY=0.5`), and the
command line (`-s DOWNLOAD_DELAY=0.5`). Imports nothing of the crawler.
"""

# Who you are, so that the owners of sites can reach you:
# USER_AGENT = "mybot/1.0 (+https://example.com/bot)"

# Logins, each for its origin alone:
# HTTP_AUTH = {"https://example.com": "user:password"}

# The queue server that all machines share; without one, a server of this folder is started:
# REDIS_URL = "rediss://:password@queue.example.com:6379/0"

# The pace, per host and for the whole fleet:
# DOWNLOAD_DELAY = 1.0  # seconds between two requests
# CONCURRENT_REQUESTS_PER_DOMAIN = 1

# How far to go:
# DEPTH_LIMIT = 5  # links from a seed

# Private networks that may be asked; none by default:
# ALLOWED_NETWORKS = ["10.1.0.0/16"]
