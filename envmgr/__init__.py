"""envmgr: the operations platform for AI coding agents on shared code."""
