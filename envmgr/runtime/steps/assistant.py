"""Start the assistant in its pane, wait until it is ready, and end it."""

from __future__ import annotations

import errno
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio

from envmgr.aio import blocking
from envmgr.core.placeholders import render
from envmgr.errors import StopFailed, Unavailable
from envmgr.model.agent import Activity
from envmgr.model.observe import Present, ProcessIdentity
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import KEY_VARIABLE, LISTED_VARIABLE, TOOLS_VARIABLE, Place
from envmgr.protocols.terminals import Pane
from envmgr.runtime import agent_key, begun, conversation, delivery, rendering, tools
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reports import Reports
from envmgr.runtime.saga import Receipt, Step
from envmgr.runtime.steps.environment import export_lines, write_private
from envmgr.runtime.steps.introduction import introduce
from envmgr.runtime.steps.session import GATE

_KEYS_GRACE_S = 3.0
_GATE_S, _GATE_PAUSE_S = 5.0, 0.001


class StartAssistant(Step):
    """Step: the assistant's process in the agent pane."""

    name = "assistant"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Prepare its configuration, and open the gate at which its pane waits."""
        inc = self._inc
        await inc.secrets()
        await inc.until_made("environment")
        await write_start(inc)
        await inc.until_made("worktree", "session")
        identity = await let_in(inc)
        return {"pid": inc.pane_pid, "start_ticks": identity.start_ticks if identity else 0}

    async def undo(self, receipt: Receipt | None) -> None:
        """End it and take back what its configuration wrote outside the agent's folder."""
        await end_assistant(self._inc, grace_s=3.0, is_polite=False)
        await agent_key.revoke(self._inc)
        await begun.end(self._inc)


async def write_start(inc: Incarnation) -> None:
    """Write the assistant's configuration and the program that its pane goes on with."""
    secrets = await inc.secrets()
    env = rendering.assistant_env(inc, secrets) | await _identity(inc)
    place = inc.place(
        env,
        conversation=await conversation.current(inc),
        handoff=await introduce(inc),
    )
    await blocking.act("file", _write_start, inc, rendered(inc, secrets), place)


async def _identity(inc: Incarnation) -> dict[str, str]:
    """What its assistant alone gets: how it finds the daemon, and is the agent there."""
    env = {"ENVMGR_STATE_DIR": str(inc.layout.state_dir)}
    if key := await agent_key.issue(inc):
        env[KEY_VARIABLE] = key
    if inc.tools_command:
        env |= {TOOLS_VARIABLE: shlex.join(inc.tools_command), LISTED_VARIABLE: str(tools.listed_file(inc))}
    return env


async def let_in(inc: Incarnation) -> ProcessIdentity | None:
    """Open the gate at which its pane waits.

    Raises:
        Unavailable: Nobody waits there; says what the pane runs instead.
    """
    inc.was_inhabited = True
    try:
        return await blocking.act("file", _open_gate, inc)
    except TimeoutError as error:
        pane = await alive_pane(inc)
        raise Unavailable(
            f"the terminal does not start the assistant; its pane runs {pane.command}",
            hint="Run `envmgr doctor`.",
        ) from error


class AwaitReadiness(Step):
    """Step: the assistant's own word that it is ready, then the first prompt."""

    name = "readiness"
    makes_nothing = True

    def __init__(self, inc: Incarnation, reports: Reports) -> None:
        self._inc = inc
        self._reports = reports

    async def do(self) -> Receipt:
        """Wait, watching the pane for an early end or a dialog; deliver the prompt."""
        inc, state = self._inc, await until_ready(self._inc, self._reports)
        if inc.prior is None:
            prompt = rendered(inc, await inc.secrets()).prompt
        elif state is Activity.AWAITING_INPUT:
            prompt = None  # it runs, and waits for a person; what was cut stays noted
        else:
            # An assistant that comes back to its worktree has had it; what a respawn has cut is said again.
            prompt = await conversation.resending(inc)
        if prompt and state in (Activity.READY, None):
            await delivery.deliver(inc, prompt, self._reports)
        elif prompt:
            raise Unavailable(
                f"the assistant asks something before the first prompt: {await last_screen(inc)}",
                hint="Answer it once by hand (`claude` in the repository), then spawn again.",
            )
        return {"activity": state.value if state else "unknown"}

    async def undo(self, receipt: Receipt | None) -> None:
        """Nothing was made."""


async def until_ready(inc: Incarnation, reports: Reports, *, mark: int = 0) -> Activity | None:
    """Wait for the assistant's word, watching its pane for an early end or a dialog; None for one that tells nothing.

    Args:
        mark: Count of reports before it was started.

    Raises:
        Unavailable: It has ended, or said nothing in its time; carries its last screen.
    """
    if not inc.assistant.reports:
        if await inc.identify(inc.pane_pid) is None:
            await alive_pane(inc)  # tells how it ended
        return None
    with anyio.move_on_after(inc.spec.assistant.ready_s):
        while True:
            if (known := await reports.after(mark, within_s=0.25)) is not None:
                return known
            await alive_pane(inc)
            seen = inc.assistant.read_screen(await last_screen(inc))
            if seen.activity is Activity.AWAITING_INPUT or (
                seen.activity is Activity.READY and not inc.assistant.greets
            ):
                return seen.activity
    raise Unavailable(
        f"the assistant gave no sign of readiness within {inc.spec.assistant.ready_s:g} s;"
        f" its screen: {await last_screen(inc)}",
        hint="Start it once by hand in the repository to see what it waits for.",
    )


def rendered(inc: Incarnation, secrets: Mapping[str, str]) -> AssistantSpec:
    """The assistant's spec with its late references filled in."""
    spec, known = inc.spec.assistant, rendering.values(inc, secrets)
    line = spec.command
    return replace(
        spec,
        command=render(line, known, shell=True) if isinstance(line, str) else _each(line, known),
        args=_each(spec.args, known),
        prompt=render(spec.prompt, known, shell=False) if spec.prompt else spec.prompt,
    )


def _each(words: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(render(word, known, shell=False) for word in words)


async def alive_pane(inc: Incarnation) -> Pane:
    """The agent pane, alive.

    Raises:
        Unavailable: The assistant has ended; carries its last screen.
    """
    pane = await find_pane(inc)
    if pane is None or pane.dead:
        how = "is gone" if pane is None else f"exited with {pane.exit_signal or pane.exit_code}"
        raise Unavailable(
            f"the assistant {how}: {await last_screen(inc) if pane else 'no session'}",
            hint="Mend `agent.command` or its arguments, and spawn again.",
        )
    return pane


async def find_pane(inc: Incarnation) -> Pane | None:
    """The agent pane as tmux lists it now; None when it is not in the list or nobody can tell."""
    terminal = await inc.find_terminal()
    if terminal is None:
        return None
    match await inc.systems.terminals.panes():
        case Present(panes):
            return next((p for p in panes if p.id == terminal.agent_pane), None)
    return None


async def last_screen(inc: Incarnation) -> str:
    """What the pane shows, without empty lines at the end; empty when there is none."""
    terminal = await inc.find_terminal()
    return (await inc.systems.terminals.screen(terminal.agent_pane)).rstrip() if terminal else ""


async def end_assistant(inc: Incarnation, *, grace_s: float, is_polite: bool = True) -> None:
    """End the assistant and all it started, verified; harmless when it is gone.

    Args:
        is_polite: First send the keys the template names, and wait for them to work.

    Raises:
        StopFailed: Processes survived KILL.
    """
    spec = inc.spec.assistant
    pane = await find_pane(inc)
    root = await inc.identify(pane.pid) if pane and pane.started and not pane.dead else None
    if pane and root and is_polite and spec.keys:
        await inc.systems.terminals.keys(pane.id, *spec.keys)
        await _gone(inc, root, _KEYS_GRACE_S)
    roots = (root,) if root else ()
    left = await inc.systems.processes.end(
        inc.marks(*roots, part="assistant"), signal=spec.stop.signal, hang_up=True, grace_s=grace_s
    )
    if spec.kind in inc.systems.assistants and inc.has_ports:
        place = inc.place(rendering.assistant_env(inc, {ref.name: "" for ref in inc.spec.secrets}))
        await blocking.act("file", inc.assistant.forget, spec, place)
    if left:
        named = ", ".join(f"{m.command} (pid {m.identity.pid})" for m in left)
        raise StopFailed(f"the assistant left processes: {named}", hint="Run `envmgr stop` again.")


async def _gone(inc: Incarnation, root: ProcessIdentity, within_s: float) -> None:
    with anyio.move_on_after(within_s):
        while await inc.identify(root.pid) == root:  # noqa: ASYNC110 - /proc wakes nobody
            await anyio.sleep(0.05)


def _open_gate(inc: Incarnation) -> ProcessIdentity | None:
    """Let the pane go on. Blocking, at most 5 s; raises TimeoutError when nobody waits at the gate."""
    gate = inc.home / GATE
    deadline = time.monotonic() + _GATE_S
    while True:
        try:
            fd = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            # ENXIO: the shell in the pane has not come to its `read` yet (fifo(7)).
            if error.errno != errno.ENXIO or time.monotonic() > deadline:
                raise TimeoutError from error
        time.sleep(_GATE_PAUSE_S)
    identity = inc.systems.processes.identify(inc.pane_pid)
    gate.unlink(
        missing_ok=True
    )  # first, so that a crash here leaves no doubt on the safe side: see `was_let_in`
    os.write(fd, b"\n")
    os.close(fd)
    return identity


def was_let_in(inc: Incarnation) -> bool:
    """Whether the assistant may have been in the worktree: its program is written and the gate is not there. Blocking."""
    return (inc.home / "start.sh").exists() and not (inc.home / GATE).exists()


def _write_start(inc: Incarnation, spec: AssistantSpec, place: Place) -> None:
    tools.listed_file(inc).unlink(missing_ok=True)
    inc.assistant.check(spec, place.env)
    start = inc.assistant.prepare(spec, place)
    # It holds the agent's key, and may hold secrets: in a file of its own, deleted before the assistant starts.
    values = inc.home / "start.env"
    write_private(values, export_lines({**place.env, **start.env}))
    exports = f". {shlex.quote(str(values))}\nrm -f {shlex.quote(str(values))}\n"
    write_private(inc.home / "start.sh", _script(inc, exports, start.argv))


def _script(inc: Incarnation, exports: str, argv: Sequence[str]) -> str:
    """The pane's program: the right place (R-9), exactly the environment meant for it, then the assistant."""
    path = shlex.quote(str(inc.path.resolve()))
    # When memory runs out it goes after its services, and before who supervises it.
    return f"""#!/bin/sh
{{ echo 200 > /proc/self/oom_score_adj; }} 2>/dev/null
cd -P {path} && [ "$(pwd -P)" = {path} ] && [ -e .git ] || {{ echo "envmgr: worktree is missing: "{path}; exit 78; }}
{exports}exec {shlex.join(argv)}
"""
