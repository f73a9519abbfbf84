"""The same faults for two crawlers: see `__main__.py`."""
