"""Steps around each fetch: DOWNLOADER_MIDDLEWARES in settings.py names them."""

from msgspec.structs import replace


async def ask_for_prices_in_euro(request, call_next):
    """Send a header with every request."""
    return await call_next(replace(request, headers={**request.headers, "x-currency": "EUR"}))
