"""Worktrees for agents on the git command line tool."""

from envmgr.drivers.git.workspaces import GitWorkspaces

__all__ = ["GitWorkspaces"]
