"""Blocking work and deadlines for async code."""
