"""The sinks, one file each. Position and items become durable together."""
