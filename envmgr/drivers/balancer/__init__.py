"""A small TCP balancer: a program of its own, held by an agent's keeper."""
