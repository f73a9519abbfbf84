"""What every process needs: start-up, signals, logs, safe text, the limits of this machine."""
