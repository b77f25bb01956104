"""Tell a unit that something it uses has changed: by a signal, or by a command."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.errors import EnvmgrError, Unavailable, Unobservable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.service import ChangeAction, Reaction, ServiceSpec
from envmgr.runtime import owning, rendering
from envmgr.runtime.incarnation import Incarnation

_COMMAND_S = 60.0


async def react(
    inc: Incarnation, unit: ServiceSpec, reaction: Reaction, *, secrets: Mapping[str, str]
) -> str:
    """Carry out a `signal` or `exec`; returns why it did not work, empty when it did. Other actions are for `Control`."""
    try:
        match reaction.action:
            case ChangeAction.SIGNAL:
                await _signal(inc, unit, reaction.signal)
            case ChangeAction.EXEC:
                await _execute(inc, unit, reaction, secrets)
    except EnvmgrError as error:
        return error.message
    return ""


async def _signal(inc: Incarnation, unit: ServiceSpec, signal: str) -> None:
    if unit.container is not None:
        await inc.systems.containers.signal(owning.container(inc, unit.name), signal)
        return
    match await inc.systems.keepers.find(inc.home, owner=inc.tag):
        case Present(keeper):
            await keeper.signal(unit.name, signal)
        case Unknown(reason):
            raise Unobservable(reason, hint="Run `envmgr doctor`.")
        case Absent():
            raise Unavailable("its keeper is gone", hint=f"Run `envmgr why {inc.name}`.")


async def _execute(
    inc: Incarnation, unit: ServiceSpec, reaction: Reaction, secrets: Mapping[str, str]
) -> None:
    """The command sees the new values, also where the running process keeps the old ones."""
    known = rendering.values(inc, secrets, unit.name, viewer=unit)
    argv = rendering.command(reaction.command, unit.shell, known)
    env = rendering.service_env(inc, unit, secrets)
    if unit.container is not None:
        place = owning.container(inc, unit.name)
        code, said = await inc.systems.containers.execute(place, argv, deadline_s=_COMMAND_S, env=env)
    else:
        code, said = await inc.systems.execute(argv, inc.path / unit.cwd, env, _COMMAND_S)
    if code != 0:
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        raise Unavailable(f"its command exited with {code}: {last}", hint="Mend the command.")
