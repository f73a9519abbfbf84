"""From request to response: `http` makes the exchange, `guard` checks addresses, `answer` reads what is odd, `decoding`
bounds the body."""
