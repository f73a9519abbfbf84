"""Settings of this project; `crawler settings` lists all there are."""

DOWNLOAD_DELAY = 0.5  # seconds between two requests to a host
DOWNLOADER_MIDDLEWARES = ["middlewares.ask_for_prices_in_euro"]
