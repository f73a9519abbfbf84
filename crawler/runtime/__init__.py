"""What every process needs, whatever its task: start-up, signals, logs, safe text, the machine's own limits."""
