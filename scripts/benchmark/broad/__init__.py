"""`scripts/bench broad`: thousands of hosts with names of their own, in a network that holds nothing else."""
