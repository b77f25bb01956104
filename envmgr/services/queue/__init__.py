"""The work queue: tasks with dependencies, leases and budgets."""
