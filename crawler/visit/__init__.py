"""The story of one URL, from the lease to its outcome."""
