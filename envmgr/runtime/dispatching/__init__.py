"""Give tasks of the queue to idle agents, and see that they come to an end."""
