"""Coordination between agents, hosted in the daemon: one file or folder each."""
