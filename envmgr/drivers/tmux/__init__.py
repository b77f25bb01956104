"""tmux on a private socket: the sessions in which assistants live and people look in."""

from envmgr.drivers.tmux.sessions import TmuxTerminals

__all__ = ["TmuxTerminals"]
