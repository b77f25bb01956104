"""Write handoffs and read them. Those that nobody writes are made by `runtime.leaving`, and stand among the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from envmgr.core.masking import masked
from envmgr.errors import NotFound, UsageError
from envmgr.model.event import NewEvent
from envmgr.model.handoff import Handoff, handoff_name, handoff_number
from envmgr.model.principal import Principal
from envmgr.protocols.store import Transaction
from envmgr.services import calls
from envmgr.services.ground import Ground, Tell
from envmgr.services.locks import Locks


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A handoff as it was stored, and which locks went to whom with it."""

    handoff: Handoff
    transferred: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Handoffs:
    """The handoffs of all repositories."""

    ground: Ground
    locks: Locks

    async def write(
        self,
        handoff: Handoff,
        *,
        by: Principal,
        to: Principal | None = None,
        transfers_locks: bool = False,
        secrets: Collection[str] = (),
    ) -> Written:
        """Store it, with what its writer holds at this moment.

        Args:
            to: Whom it is for.
            transfers_locks: And gets the locks, in the same change.
            secrets: Values that must not be kept, beside what looks like one.

        Raises:
            UsageError: Locks are to go, and nobody is named.
        """
        if transfers_locks and to is None:
            raise UsageError("who gets the locks?", hint="Name an agent with `to_agent`.")
        clean = _clean(handoff, secrets)

        def change(tx: Transaction, tell: Tell) -> Written:
            held = self.locks.held(tx, handoff.repo, holder=by.id)
            tasks = tuple(task.name for task in tx.tasks.leased(holder=by.id))
            moved = []
            if transfers_locks and to is not None:
                moved = self.locks.hand_over(tx, tell, self.locks.movable(tx, held, to), to)
            whole = replace(
                clean,
                at=self.ground.now(),
                locks=tuple(grant.target for grant in held),
                tasks=tuple(dict.fromkeys((*clean.tasks, *tasks))),
                transferred_to=to.name if moved and to is not None else "",
            )
            stored = replace(whole, id=tx.handoffs.add(whole))
            name = handoff_name(stored.id)
            data: dict[str, object] = {"handoff": name, "kind": whole.kind.value, "repo": whole.repo}
            tell(NewEvent(kind="handoff.written", agent=by.agent, generation=whole.generation, data=data))
            if to is not None and to.agent:
                told = {"handoff": name, "by": whole.agent_name}
                tell(NewEvent(kind="handoff.received", agent=to.agent, data=told))
            _note(name)
            return Written(handoff=stored, transferred=tuple(grant.target for grant in moved))

        return await self.ground.write(change)

    async def read(
        self,
        repo: str,
        *,
        agent: str = "",
        task: str = "",
        branch: str = "",
        before: str = "",
        limit: int = 1,
    ) -> Sequence[Handoff]:
        """Those of the repository that fit, newest first.

        Args:
            agent: Id or name.
            before: Name of one; only older ones count.
        """
        number = handoff_number(before) if before else 0
        return await self.ground.read(
            lambda tx: tx.handoffs.newest(
                repo=repo, agent=agent, task=task, branch=branch, before=number, limit=limit
            )
        )

    async def one(self, repo: str, name: str) -> Handoff:
        """By its name. Raises NotFound."""
        found = await self.ground.read(lambda tx: tx.handoffs.get(handoff_number(name)))
        if found is None or found.repo != repo:
            raise NotFound(f"no handoff {name[:80]}", hint="See `envmgr handoff ls`.")
        return found


def _clean(handoff: Handoff, secrets: Collection[str]) -> Handoff:
    """Without secrets.

    Raises:
        UsageError: Nothing is left of the summary.
    """

    def clean(text: str) -> str:
        return masked(text.replace("\x00", ""), secrets).strip()

    def each(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(filter(None, map(clean, items)))

    summary = clean(handoff.summary)
    if not summary:
        raise UsageError("a handoff needs a summary", hint="Say in a sentence or two where the work stands.")
    return replace(
        handoff,
        summary=summary,
        completed=each(handoff.completed),
        in_progress=each(handoff.in_progress),
        decisions=each(handoff.decisions),
        next_steps=each(handoff.next_steps),
        files=each(handoff.files),
    )


def _note(name: str) -> None:
    """For the audit trail."""
    call = calls.current()
    if call is not None:
        call.target = name
        call.result = {"handoff_id": name}
