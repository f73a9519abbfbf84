"""From request to response: `http` makes the exchange, `guard` checks addresses, `decoding` bounds the body."""
