"""What happens when a person comes to look at an agent: the template's hooks."""

from __future__ import annotations

from envmgr.errors import EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.runtime.commands import run_task
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.stopping import Record


async def run_hooks(inc: Incarnation, record: Record) -> tuple[str, ...]:
    """Run `hooks.on_attach` in order; what went wrong is recorded and returned, and keeps nobody out."""
    said: list[str] = []
    for task in inc.spec.hooks.on_attach:
        try:
            await run_task(inc, task, what="on_attach")
        except EnvmgrError as error:
            said.append(error.message)
            data = {"text": error.message}
            await record(NewEvent(kind="notice", agent=inc.id, generation=inc.generation, data=data))
    return tuple(said)
