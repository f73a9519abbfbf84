"""The queues of other systems that seeds come from."""
