"""Where items end, one file each. Position and items become durable together."""
