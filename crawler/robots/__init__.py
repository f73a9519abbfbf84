"""What a site permits: its robots.txt (RFC 9309) and the directives on its pages."""
