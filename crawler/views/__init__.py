"""What people are shown: figures, reasons, reports. Computed from `model`, printed by `cli`."""
