"""The visit of one URL, from the lease to its outcome."""
