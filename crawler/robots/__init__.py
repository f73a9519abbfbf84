"""What a site permits: its robots.txt (RFC 9309) and the page directives."""
