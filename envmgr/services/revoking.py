"""What becomes of whoever had a key that was revoked."""

from __future__ import annotations

from functools import partial

from envmgr.model.session import SessionStatus
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell
from envmgr.services.lock_events import lost
from envmgr.services.sessions import Presence


async def leave(presence: Presence, principal: str, why: str) -> None:
    """They ask no more: their sessions end, and tasks and locks are free, those without a session, too."""
    stored = await presence.ground.read(lambda tx: tx.sessions.of(principal, is_over=False))
    await presence.end(stored, SessionStatus.DEAD, why)

    def change(tx: Transaction, tell: Tell) -> None:
        presence.queue.release_of(tx, tell, principal)
        presence.locks.drop(tx, tell, list(tx.locks.all(holder=principal)), tells=partial(lost, why=why))

    await presence.ground.write(change)
