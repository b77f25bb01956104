"""What happens to locks by itself: they end with their time or their holder, and signs of life are written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from envmgr.model.lock import Grant
from envmgr.model.principal import DAEMON
from envmgr.protocols.store import Transaction
from envmgr.services.calls import Call, answering
from envmgr.services.ground import Tell
from envmgr.services.lock_events import expired, lost
from envmgr.services.locks import Locks

Why = Callable[[str, str], str]
"""Of a holder and the run that took a lock: why that is over; empty while it is not."""


class LockKeeping:
    """Each of these looks at everything there is, so none of them minds what happened before, or how often it is called."""

    def __init__(self, locks: Locks) -> None:
        self.locks = locks
        self._ground = locks.ground
        self._written_at = locks.ground.steady()

    async def release_dead(self, why: Why) -> Sequence[Grant]:
        """End the locks of runs that are over; returns them."""
        holders = await self._ground.read(lambda tx: tx.locks.holders())
        dead = {(holder, life): reason for holder, life in holders if (reason := why(holder, life))}
        return await self._release(dead) if dead else ()

    async def release_killed(self, is_gone: Callable[[str], Awaitable[bool]]) -> Sequence[Grant]:
        """End the locks of runs whose process is gone, before anybody has told so; returns them."""
        holders = await self._ground.read(lambda tx: tx.locks.holders())
        dead = {one: "its process is gone" for one in holders if one[1] and await is_gone(one[1])}
        return await self._release(dead) if dead else ()

    async def _release(self, dead: dict[tuple[str, str], str]) -> Sequence[Grant]:
        names = {holder for holder, _ in dead}
        held = await self._ground.read(
            lambda tx: [grant for holder in names for grant in tx.locks.all(holder=holder)]
        )
        ended = [grant for grant in held if (grant.holder, grant.life) in dead]

        def change(tx: Transaction, tell: Tell) -> Sequence[Grant]:
            gone: list[Grant] = []
            for grant in ended:
                now = tx.locks.one(grant.token)
                # A new run may have taken it over since.
                if now is not None and now.life == grant.life:
                    why = dead[grant.holder, grant.life]
                    gone += self.locks.drop(tx, tell, [now], tells=partial(lost, why=why))
            return gone

        return await self._act("lock.lose", change, ended)

    async def expire(self) -> Sequence[Grant]:
        """End the locks whose time and grace are over; returns them."""
        before = self._ground.steady() - self.locks.policy.grace_s
        late = [
            grant
            for grant in await self._ground.read(lambda tx: tx.locks.late(before))
            if not self.locks.stands(grant)
        ]
        if not late:
            return ()

        def change(tx: Transaction, tell: Tell) -> Sequence[Grant]:
            now = [tx.locks.one(grant.token) for grant in late]
            over = [grant for grant in now if grant is not None and not self.locks.stands(grant)]
            return self.locks.drop(tx, tell, over, tells=expired)

        return await self._act("lock.expire", change, late)

    async def wake_waiting(self) -> int:
        """Have those ask again who would get an answer: most have been woken by an event, and some things no event tells.

        Somebody may have got by another way what they wait for, or have waited long enough to come first, or be in a
        deadlock that began after all of them did. Returns how many.
        """
        if not self.locks.line.is_anybody():
            return 0
        found = await self._ground.read(lambda tx: self.locks.graph(tx).worth_asking())
        self.locks.line.wake(found)
        return len(found)

    async def write_down_signs(self) -> int:
        """Store how long locks last by the signs of life of their holders, every now and then; returns how many changed."""
        now, policy = self._ground.steady(), self.locks.policy
        seen = self.locks.signs()
        if now - self._written_at < policy.renew_every_s or not seen:
            return 0
        self._written_at = now
        held = await self._ground.read(lambda tx: [g for holder in seen for g in tx.locks.all(holder=holder)])
        self.locks.forget_signs(keep={grant.holder for grant in held}, before=now)
        gained = [
            grant for grant in held if self.locks.expires_at(grant) - grant.expires_at >= grant.ttl_s / 4
        ]
        if gained:
            await self._ground.store.write(lambda tx: self._extend(tx, gained))
        return len(gained)

    def _extend(self, tx: Transaction, grants: Sequence[Grant]) -> None:
        for grant in grants:
            tx.locks.extend(grant.token, ttl_s=grant.ttl_s, expires_at=self.locks.expires_at(grant))

    async def _act(
        self,
        operation: str,
        change: Callable[[Transaction, Tell], Sequence[Grant]],
        about: Sequence[Grant],
    ) -> Sequence[Grant]:
        """The daemon's own act, in the audit trail like everybody's."""
        targets = " ".join(grant.target for grant in about)
        result: dict[str, object] = {"locks": [f"{grant.name} #{grant.token}" for grant in about]}
        call = Call(
            principal=DAEMON, operation=operation, at=self._ground.now(), target=targets, result=result
        )
        with answering(call):
            return await self._ground.write(change)
