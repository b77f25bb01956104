"""Keepers: `program` is the small process that holds an agent's services, `client` reaches it."""
