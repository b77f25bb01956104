"""Whether this host can carry one more agent: looked at afresh for each, with what others are about to take."""

from __future__ import annotations

from pathlib import Path

from envmgr.aio import blocking
from envmgr.core.capacity import Supply, answer
from envmgr.errors import Unavailable
from envmgr.model.spec import AgentSpec
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Layout, Systems
from envmgr.runtime.room import Found, Room

_INDEX_S = 2.0


class Refused(Unavailable):
    """The host has no room."""

    code = "unavailable.admission"


async def look(repo: Path, systems: Systems, layout: Layout, *, networks: int | None = None) -> Found:
    """What an answer is made from, now; `networks` that the engine has, if somebody has asked."""
    host = await systems.gauges.host({"worktrees": layout.worktree_root})
    leases = await systems.store.read(lambda tx: tx.leases())
    files = await blocking.look_again(("index", repo), "file", _INDEX_S, _tracked, repo)
    return Found(host=host, leases=leases, files=files, networks=networks)


def admit(spec: AgentSpec, room: Room, found: Found, *, without: Actor | None = None) -> None:
    """Raise Refused unless there is room for this agent.

    To be called without a pause between it and what makes the agent count, else two could take the same room.

    Args:
        without: The agent itself, when it is known already.
    """
    told = answer(room.supplies(spec, found, without=without))
    if told.fits == 0 and told.first is not None:
        raise Refused(_words(told.first), hint=told.first.remedy, details={"resource": told.first.name})


def _words(short: Supply) -> str:
    if short.name == "agents":
        most = short.total or 0
        return f"{most - short.free:.0f} agents are active; the limit is {most:.0f}"
    free = f"{_free(short)} are free"
    others = (
        f", agents that are starting will take {_amount(short.reserved, short)}" if short.reserved else ""
    )
    keep = f", {_amount(short.keep, short)} must remain" if short.keep else ""
    return f"{free}; this agent takes {_amount(short.each, short)} ({short.basis}){others}{keep}"


def _free(short: Supply) -> str:
    if short.unit == "bytes":
        return f"{_amount(short.free, short)} of {short.name}"
    return f"{short.free:.0f} {short.unit}" + (f" ({short.name})" if short.name != short.unit else "")


def _amount(count: float, supply: Supply) -> str:
    return f"{count / 1e6:.0f} MB" if supply.unit == "bytes" else f"{count:.0f}"


def _tracked(repo: Path) -> int:
    """Files in the index of a checkout (gitformat-index(5)); 0 where it is elsewhere. Blocking, shortly."""
    try:
        with (repo / ".git" / "index").open("rb") as file:
            head = file.read(12)
    except OSError:
        return 0
    return int.from_bytes(head[8:12], "big") if head[:4] == b"DIRC" else 0
