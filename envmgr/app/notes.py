"""Operation `events.add`: programs record what they did, many notes in one durable write."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from envmgr.app import views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask
from envmgr.model.event import Event, NewEvent
from envmgr.protocols.store import Transaction

_MOST = 1000


class Note(BaseModel):
    """One thing that happened, in somebody else's words."""

    kind: Annotated[
        str, Field(pattern=r"^note\.[a-z0-9_.-]{1,60}$", description="`note.` and a word of your own")
    ]
    agent: str = Field(default="", description="Agent it is about, by name or id")
    data: dict[str, object] = Field(default={}, description="Details, any JSON object")


class AddEvents(Ask):
    """What to record."""

    notes: list[Note] = Field(
        description="In order; stored together or not at all", min_length=1, max_length=_MOST
    )


@operation(
    "events.add",
    route="POST /api/v1/events",
    gives=views.Done,
    text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE,
)
async def add(ask: AddEvents, app: App) -> views.Done:
    """Record notes as events; durable when answered, all of them or none."""
    supervisor = app.agents
    ids = {
        name: supervisor.find(name).state.id if name else "" for name in {note.agent for note in ask.notes}
    }
    news = [NewEvent(kind=note.kind, agent=ids[note.agent], data=note.data) for note in ask.notes]
    now = supervisor.systems.now()

    def append(tx: Transaction) -> list[int]:
        return [tx.append(new, at=now) for new in news]

    numbers = await supervisor.systems.store.write(append)
    supervisor.bus.publish(
        [
            Event(kind=new.kind, agent=new.agent, data=new.data, seq=seq, at=now)
            for new, seq in zip(news, numbers, strict=True)
        ]
    )
    return views.Done(message=f"recorded {len(numbers)} notes, up to event {numbers[-1]}")
