"""Decisions: pure functions from state to state, without I/O or clock."""
