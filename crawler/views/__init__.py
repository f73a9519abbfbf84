"""What people see: figures, reasons, reports. Computed from `model` and `status`, printed by `cli`."""
