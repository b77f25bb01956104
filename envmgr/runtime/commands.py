"""Commands that the template names for moments in an agent's life: set-up and hooks.

What they write goes to one log of the agent, with a line before and after each, and values of secrets masked. No service can
have a file of that name, as no service's name begins with an underscore.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from envmgr.aio import blocking
from envmgr.core.masking import masked
from envmgr.errors import EnvmgrError, Unavailable
from envmgr.model.service import LogPolicy
from envmgr.model.spec import TaskCommand
from envmgr.runtime import rendering, sharing
from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation

log = logging.getLogger(__name__)

LOG_NAME = "hooks"
"""What people call the log."""

_SHOWN_CHARS = 400


def log_path(inc: Incarnation) -> Path:
    """The log's current file."""
    return inc.home / "logs" / "_hooks.log"


def has_commands(inc: Incarnation) -> bool:
    """Whether the template names any."""
    hooks = inc.spec.hooks
    named = (hooks.on_create, hooks.on_start, hooks.on_attach, hooks.pre_stop, hooks.post_stop)
    return bool(inc.spec.workspace.setup or inc.spec.queue.checks or any(named))


async def run_task(inc: Incarnation, task: TaskCommand, *, what: str) -> None:
    """Run a command of the template in the worktree with the agent's environment, or inside of one of its containers.

    Raises:
        Unavailable: It failed or took too long; carries the end of its output.
    """
    shown = task.command if isinstance(task.command, str) else " ".join(task.command)
    where = f" in {task.inside}" if task.inside else ""
    await blocking.act("file", _write, inc, f"# {what}{where}: {shown}\n")
    begun_at = inc.systems.now()
    try:
        secrets = await inc.secrets()
        code, said = await (_inside if task.inside else _beside)(inc, task, secrets)
    except EnvmgrError as error:
        await blocking.act("file", _write, inc, f"# {what}: {error.message}\n")
        raise
    output = masked(said, secrets.values())
    took_s = inc.systems.now() - begun_at
    ending = f"# {what}: exited with {code} after {took_s:.1f} s\n"
    await blocking.act("file", _write, inc, f"{output}{_line_end(output)}{ending}")
    if code:
        raise Unavailable(
            f"{what} command `{shown}`{where} exited with {code}: {output.strip()[-_SHOWN_CHARS:] or 'no output'}",
            hint=_hint(inc, task),
        )


def _line_end(text: str) -> str:
    return "" if not text or text.endswith("\n") else "\n"


def _hint(inc: Incarnation, task: TaskCommand) -> str:
    by_hand = (
        f"while {task.inside} runs, by hand: `envmgr exec {inc.name} --service {task.inside} -- ...`"
        if task.inside
        else "or run it by hand in the repository to see why"
    )
    return f"All it wrote: `envmgr logs {inc.name} {LOG_NAME}`. Mend the command in the template, {by_hand}."


async def _beside(inc: Incarnation, task: TaskCommand, secrets: Mapping[str, str]) -> tuple[int, str]:
    argv = rendering.command(task.command, "/bin/sh", rendering.values(inc, secrets))
    env = rendering.assistant_env(inc, secrets, part="task")
    return await inc.systems.execute(argv, inc.path, env, task.timeout_s)


async def _inside(inc: Incarnation, task: TaskCommand, secrets: Mapping[str, str]) -> tuple[int, str]:
    """With the environment and the working directory of the container, and the secrets that the command names."""
    service = inc.service(task.inside)
    known = rendering.values(inc, secrets, service.name, viewer=service)
    argv = rendering.command(task.command, service.shell, known)
    env = rendering.named(secrets, task.command)
    return await EngineRunner(sharing.runs_in(inc, service)).execute(service.name, argv, task.timeout_s, env)


def _write(inc: Incarnation, text: str) -> None:
    """A log that cannot be written keeps no agent from its start or its stop."""
    path, data = log_path(inc), text.encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        writer = inc.systems.open_log(path, LogPolicy(), 0)
    except OSError as error:
        log.warning("output not written", extra={"agent": inc.id, "why": error.strerror})
        return
    try:
        for start in range(0, len(data), writer.chunk_bytes):
            writer.write(data[start : start + writer.chunk_bytes])
    finally:
        writer.close()
