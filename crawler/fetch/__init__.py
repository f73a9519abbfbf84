"""From a request to a response: `http` asks, `guard` says whom, `decoding` bounds what comes back."""
