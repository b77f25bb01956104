"""Clients of the daemon for programs: `from envmgr.clients import Client`. The TypeScript one is `envmgr.ts` beside this file."""

from envmgr.clients.client import Client

__all__ = ["Client"]
