"""The outside world: the drivers, the store and the assistants that this host works with."""

from __future__ import annotations

import os
import secrets as randomness
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from envmgr.app.paths import SOCKET
from envmgr.assistants import claude_talks
from envmgr.assistants.claude_code import ClaudeCodeAssistant
from envmgr.assistants.codex import CodexAssistant
from envmgr.assistants.command import CommandAssistant
from envmgr.assistants.gemini import GeminiAssistant
from envmgr.assistants.hooks import hook_command
from envmgr.assistants.opencode import OpencodeAssistant
from envmgr.config.settings import Settings
from envmgr.config.templates.environment import Secrets
from envmgr.drivers import command
from envmgr.drivers.balancer import program as balancer
from envmgr.drivers.git.workspaces import GitWorkspaces
from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.drivers.keeper.logfile import LogFile
from envmgr.drivers.processes import ProcProcesses
from envmgr.drivers.sockets import HostSockets
from envmgr.drivers.tmux.sessions import TmuxTerminals
from envmgr.errors import Unobservable
from envmgr.model.ids import AgentId, InstanceId
from envmgr.model.service import LogPolicy
from envmgr.model.spec import AgentSpec
from envmgr.protocols.logs import LogWriter
from envmgr.protocols.store import Store, Transaction
from envmgr.runtime.incarnation import Systems
from envmgr.store.series import SqliteSeries

_KEPT_CHARS = 1 << 18
_LEAST_TELLING = 8
"""Shorter values stand in any text by chance."""


def systems(
    folder: Path, store: Store, terminals: TmuxTerminals, workspaces: GitWorkspaces, *, told: set[str]
) -> Systems:
    """All that needs no container engine.

    Args:
        told: Takes up the values of all secrets that are fetched, so that they can be told from other text.
    """
    sockets = HostSockets()

    def hooks(agent: AgentId, generation: int, home: Path) -> Sequence[str]:
        return hook_command(sys.executable, folder / SOCKET, agent=agent, generation=generation, home=home)

    assistants = (
        CommandAssistant(),
        ClaudeCodeAssistant(),
        CodexAssistant(),
        GeminiAssistant(),
        OpencodeAssistant(),
    )
    remembered = Secrets()
    return Systems(
        store=store,
        workspaces=workspaces,
        terminals=terminals,
        keepers=UnixKeepers(),
        processes=ProcProcesses(sockets),
        sockets=sockets,
        assistants={assistant.kind: assistant for assistant in assistants},
        talks={ClaudeCodeAssistant.kind: claude_talks.tail},
        secrets=partial(_secrets, remembered, told),
        hook_command=hooks,
        balancer_command=lambda file: (sys.executable, "-I", "-S", balancer.__file__, str(file)),
        execute=_execute,
        open_log=open_log,
        # -P: what lies in a worktree is not imported.
        tools_command=lambda which: (sys.executable, "-P", "-m", "envmgr.interfaces.mcp", "--tools", which),
    )


def series(path: Path, settings: Settings) -> SqliteSeries:
    """History of measurements."""
    return SqliteSeries(
        path,
        raw_s=settings.prevention.raw_hours * 3600,
        minutes_s=settings.prevention.minute_days * 86_400,
        max_bytes=settings.prevention.max_history_bytes,
    )


def instance(tx: Transaction) -> InstanceId:
    """Who we are: drawn once for each state directory."""
    known = tx.get("instance")
    if known is None:
        known = randomness.token_hex(4)
        tx.put("instance", known)
    return InstanceId(known)


def open_log(path: Path, policy: LogPolicy, base: int) -> LogWriter:
    """A log file that rotates as the policy says."""
    return LogFile(str(path), max_bytes=policy.max_bytes, keep=policy.keep, base=base)


def _secrets(
    remembered: Secrets, told: set[str], spec: AgentSpec, environment: Mapping[str, str]
) -> Mapping[str, str]:
    """Blocking only for secrets from files and commands; most specs have none."""
    if not spec.secrets:
        return {}
    values = remembered.of(spec, {**os.environ, **environment}, Path(spec.repo))
    told.update(value for value in values.values() if len(value) >= _LEAST_TELLING)
    return values


async def _execute(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], deadline_s: float
) -> tuple[int, str]:
    try:
        ended = await command.run(argv, cwd=cwd, env=env, deadline_s=deadline_s, in_one=True)
    except Unobservable as error:
        return 124, f"{error.details.get('output', '')}\n{error.message}"
    return ended.code, ended.stdout[-_KEPT_CHARS:]
