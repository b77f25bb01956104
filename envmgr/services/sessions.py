"""Who is here: sessions that register, give signs of life, and end; what those that ended held is given back.

Agents that envmgr has spawned are known without having registered, and their process tells whether they live. Of everybody else
only silence tells. Each look goes over all there is, so that nothing depends on having seen it happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from envmgr.core.leasing import is_same_life
from envmgr.model.event import NewEvent
from envmgr.model.principal import DAEMON, Principal
from envmgr.model.session import Session, SessionStatus
from envmgr.model.task import Task
from envmgr.protocols.store import Transaction
from envmgr.services.calls import Call, answering
from envmgr.services.ground import Ground, Tell
from envmgr.services.locks import Locks
from envmgr.services.news import news_since
from envmgr.services.queue.queue import Queue
from envmgr.services.session_parts import Agents, Beat, Kept, Nobody, Pulse, SessionRules, Warn, lost_before

_AT_ONCE = 100
UNNAMED = "-"
"""What a session without a name is called among locks and tasks."""


@dataclass(slots=True, kw_only=True)
class Presence:
    """All sessions of one daemon.

    Attributes:
        kept: What is known without asking the store.
    """

    ground: Ground
    locks: Locks
    queue: Queue
    rules: SessionRules = SessionRules()
    agents: Agents = field(default_factory=Nobody)
    warners: list[Warn] = field(default_factory=list)
    kept: Kept = field(default_factory=Kept)
    _seen: dict[tuple[str, str], float] = field(default_factory=dict)

    async def load(self) -> None:
        """Remember what sessions said they can do; once, before anything else. Nobody could call while no daemon ran."""
        stored = await self.ground.read(lambda tx: tx.sessions.all())
        for one in stored:
            self.kept.know(one)
        self._seen = {(one.principal, one.session): self.ground.steady() for one in stored}

    @property
    def registered(self) -> set[str]:
        """Principals of which a session has that is not over."""
        return self.kept.registered

    def capabilities(self, principal: Principal) -> frozenset[str]:
        """What is known of what it can do: by its template, and by what its session has said."""
        own = self.agents.session(principal.agent) if principal.agent else None
        said = self.kept.abilities.get((principal.id, principal.session), ())
        return frozenset((*(own.capabilities if own is not None else ()), *said))

    # --- signs of life ---------------------------------------------------------------------------------------

    def seen(self, principal: str, session: str) -> None:
        """It called, or one of its hooks did. Costs nothing; written down now and then."""
        self._seen[principal, session] = self.ground.steady()
        self.locks.seen(principal)

    def hooked(self, agent: str) -> None:
        """A hook of an agent's assistant called."""
        self._seen[agent, ""] = self.ground.steady()
        self.locks.seen(agent)

    async def write_down(self) -> None:
        """Keep the signs of life given since the last time.

        A call that does not say of which session it is counts for the only one there is.
        """
        signs, self._seen = self._seen, {}
        if signs:
            began_at = self.ground.now() - self.ground.steady()

            def change(tx: Transaction) -> None:
                for (principal, session), steady in signs.items():
                    at = began_at + steady
                    if tx.sessions.seen(principal, session, steady=steady, at=at) or session:
                        continue
                    there = tx.sessions.of(principal, is_over=False)
                    if len(there) == 1:
                        tx.sessions.seen(principal, there[0].session, steady=steady, at=at)

            await self.ground.store.write(change)

    # --- what sessions ask -------------------------------------------------------------------------------------

    async def register(self, session: Session) -> Session:
        """It is here, with what it can do; registering again begins anew."""
        now, steady = self.ground.now(), self.ground.steady()

        def change(tx: Transaction, tell: Tell) -> Session:
            before = tx.sessions.get(session.principal, session.session)
            is_same = before is not None and not before.is_over
            fresh = replace(
                session,
                life=before.life if before is not None and is_same else session.life,
                at=before.at if before is not None and is_same else now,
                last_at=now, seen_at=steady, is_over=False, reason="",
            )  # fmt: skip
            tx.sessions.put(fresh)
            if not is_same:
                tell(_event("session.registered", fresh, capabilities=list(fresh.capabilities)))
            return fresh

        fresh = await self.ground.write(change)
        self.kept.know(fresh)
        return fresh

    async def heartbeat(self, principal: Principal, session: str, beat: Beat, *, repo: str) -> Pulse:
        """It lives; tells what it should know. One that had been given up is taken in again, and told so."""
        self.seen(principal.id, session)
        now, steady = self.ground.now(), self.ground.steady()

        def change(tx: Transaction, tell: Tell) -> tuple[Session, str]:
            known = tx.sessions.get(principal.id, session)
            before = known or self.agents.session(principal.agent) or Session(
                principal=principal.id, session=session, name=principal.name, repo=repo, at=now
            )  # fmt: skip
            fresh = replace(
                before, session=session, seen_at=steady, last_at=now, is_over=False, reason="",
                status=beat.status or (SessionStatus.ACTIVE if before.is_over else before.status),
                current_task=before.current_task if beat.current_task is None else beat.current_task,
                note=before.note if beat.note is None else beat.note,
            )  # fmt: skip
            tx.sessions.put(fresh)
            if before.is_over:
                tell(_event("session.returned", fresh))
            return fresh, before.reason if before.is_over else ""

        fresh, lost = await self.ground.write(change)
        if lost:
            self.kept.know(fresh)
        warnings = [f"you counted as gone ({lost}): your locks and tasks were given back"] if lost else []
        for warn in self.warners:
            warnings += await warn(replace(principal, session=session), repo)
        return Pulse(
            session=fresh,
            warnings=tuple(warnings),
            messages=tuple(await self._news(principal, session, fresh)),
            must_stop=self.agents.must_stop(principal.agent) if principal.agent else "",
        )

    async def _news(self, principal: Principal, session: str, known: Session) -> Sequence[str]:
        """What happened to an agent since it was told last, or began."""
        if not principal.agent:
            return ()
        key = principal.id, session
        last = self.kept.told.get(key)
        self.kept.told[key], lines = await self.ground.read(
            lambda tx: news_since(tx, principal.agent, last, at=known.at)
        )
        return lines

    # --- looking -------------------------------------------------------------------------------------------------

    async def discover(self, *, repo: str = "", has_over: bool = False) -> Sequence[Session]:
        """All sessions as they are now: agents by their process, the others by their signs of life."""
        await self.write_down()
        stored = await self.ground.read(lambda tx: tx.sessions.all(repo=repo, has_over=has_over))
        known = {(one.principal, one.session): one for one in stored}
        found = []
        for own in self.agents.sessions():
            if repo and own.repo != repo:
                continue
            said = known.pop((own.principal, ""), None)
            now = self._merged(own, said) if said is not None and is_same_life(said.life, own.life) else own
            if has_over or now.status is not SessionStatus.DEAD:
                found.append(now)
        return [*found, *(self._as_it_is(one) for one in known.values() if not one.life)]

    def _merged(self, own: Session, said: Session) -> Session:
        """What the supervisor sees, and what the agent has said."""
        merged = replace(
            own,
            capabilities=tuple(dict.fromkeys((*own.capabilities, *said.capabilities))),
            current_task=said.current_task, note=said.note, parent=said.parent, seen_at=said.seen_at,
            last_at=max(own.last_at, said.last_at), at=own.at or said.at,
        )  # fmt: skip
        is_silent = self.ground.steady() - max(own.seen_at, said.seen_at) > self.rules.stale_s
        # Who waits for work or for a person may be silent for as long as it likes: its process lives.
        if own.status is SessionStatus.ACTIVE and is_silent:
            return replace(
                merged, status=SessionStatus.STALE, reason=f"no sign of life for {self.rules.stale_s:g} s"
            )
        return merged

    def _as_it_is(self, session: Session) -> Session:
        if session.is_over or self.ground.steady() - session.seen_at <= self.rules.stale_s:
            return session
        return replace(session, status=SessionStatus.STALE)

    # --- ends ----------------------------------------------------------------------------------------------------

    async def end_silent(self) -> Sequence[Session]:
        """End sessions that gave no sign of life for too long, and give back what each of them held; nothing of others."""
        await self.write_down()
        before = self.ground.steady() - self.rules.stale_s
        silent = await self.ground.read(lambda tx: tx.sessions.silent(before_steady=before, limit=_AT_ONCE))
        return await self.end(silent, SessionStatus.STALE, f"no sign of life for {self.rules.stale_s:g} s")

    async def end_dead(self, why: Callable[[str, str], str]) -> Sequence[Session]:
        """End the sessions of agents whose run is over, and put their tasks back.

        Args:
            why: (agent, life) -> why that run is over; empty while it goes on.
        """
        runs = await self.ground.read(lambda tx: tx.sessions.of_runs())
        over = {own.principal: reason for own in runs if (reason := why(own.principal, own.life))}
        theirs = await self.ground.read(
            lambda tx: {agent: tx.sessions.of(agent, is_over=False) for agent in over}
        )
        return [
            one for agent in over for one in await self.end(theirs[agent], SessionStatus.DEAD, over[agent])
        ]

    async def note_agents(self) -> None:
        """Every agent that runs has a session without having registered."""
        running = [one for one in self.agents.sessions() if one.life and one.status is not SessionStatus.DEAD]
        stored = await self.ground.read(lambda tx: {one.principal: one for one in tx.sessions.of_runs()})
        fresh = [
            one
            for one in running
            if one.principal not in stored or not is_same_life(stored[one.principal].life, one.life)
        ]
        if not fresh:
            return
        now, steady = self.ground.now(), self.ground.steady()

        def change(tx: Transaction, tell: Tell) -> None:
            for one in fresh:
                said = tx.sessions.get(one.principal, "")
                # It may have registered before it was noticed.
                kept = replace(said, is_over=False, reason="") if said is not None and not said.life else one
                session = replace(kept, life=one.life, at=now, last_at=now, seen_at=steady)
                tx.sessions.put(session)
                tell(_event("session.registered", session, capabilities=list(session.capabilities)))

        await self.ground.write(change)

    async def end(self, sessions: Sequence[Session], status: SessionStatus, why: str) -> list[Session]:
        """End those that are not over, with what each of them holds."""
        if not sessions:
            return []

        def change(tx: Transaction, tell: Tell) -> list[Session]:
            return [over for one in sessions if (over := self._over(tx, tell, one, status, why)) is not None]

        named = " ".join(f"{one.name}/{one.session or UNNAMED}" for one in sessions)
        with answering(Call(principal=DAEMON, operation="session.end", at=self.ground.now(), target=named)):
            ended = await self.ground.write(change)
        self.kept.forget(ended)
        return ended

    def _over(
        self, tx: Transaction, tell: Tell, session: Session, status: SessionStatus, why: str
    ) -> Session | None:
        now = tx.sessions.get(session.principal, session.session)
        # It may have come back since it was looked at.
        if now is None or now.is_over or (status is SessionStatus.STALE and now.seen_at > session.seen_at):
            return None
        over = replace(now, is_over=True, status=status, reason=why)
        tx.sessions.put(over)
        before = lost_before(tx, session)
        tasks = [task.name for task in self._give_back(tx, tell, session)]
        ended = self.locks.end_session(tx, tell, session.principal, session.session or UNNAMED)
        locks = [grant.target for grant in ended]
        lost = {"tasks": [*before.tasks, *tasks], "locks": [*before.locks, *locks]}
        tell(_event("session.ended", over, status=status.value, reason=why, **lost))
        return over

    def _give_back(self, tx: Transaction, tell: Tell, session: Session) -> Sequence[Task]:
        """Of an agent that was started again the queue tells itself what its new run has claimed."""
        if not session.life:
            return self.queue.release_of(tx, tell, session.principal, session=session.session or UNNAMED)
        own = self.agents.session(session.principal)
        is_gone = own is None or own.status is SessionStatus.DEAD
        return self.queue.release_of(tx, tell, session.principal) if is_gone else ()


def _event(kind: str, session: Session, **more: object) -> NewEvent:
    agent = "" if ":" in session.principal else session.principal
    data = {"session": session.session, "by": session.name, "repo": session.repo, **more}
    return NewEvent(kind=kind, agent=agent, data=data)
