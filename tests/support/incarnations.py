"""One generation of an agent on real systems: store, keeper, processes and sockets of this host."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from envmgr.assistants.command import CommandAssistant
from envmgr.drivers import command
from envmgr.drivers.balancer import program as balancer
from envmgr.drivers.git.workspaces import GitWorkspaces
from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.drivers.keeper.logfile import LogFile
from envmgr.drivers.processes import ProcProcesses
from envmgr.drivers.sockets import HostSockets
from envmgr.drivers.tmux import TmuxTerminals
from envmgr.model.agent import AgentState
from envmgr.model.container import VolumeSpec
from envmgr.model.ids import AgentId, InstanceId
from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AgentSpec, AssistantSpec, PortsPolicy
from envmgr.protocols.assistant import Assistant
from envmgr.protocols.store import AgentRecord
from envmgr.protocols.workspaces import Repository, Worktree
from envmgr.runtime.incarnation import Incarnation, Layout, Systems
from envmgr.store.sqlite import SqliteStore
from tests.support.keepers import end_keeper

AGENT = AgentId("0tter000")
# Test processes side by side look for free ports in different places.
_FIRST = 20000 + os.getpid() % 90 * 100
POOL = PortsPolicy(first=_FIRST, last=_FIRST + 99, block=10)


async def execute(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], deadline_s: float
) -> tuple[int, str]:
    ended = await command.run(argv, cwd=cwd, env=env, deadline_s=deadline_s)
    return ended.code, ended.stdout + ended.stderr


@asynccontextmanager
async def incarnation(
    folder: Path,
    *services: ServiceSpec,
    assistant: AssistantSpec | None = None,
    adapter: Assistant | None = None,
    agent: AgentId = AGENT,
    volumes: Sequence[VolumeSpec] = (),
) -> AsyncIterator[Incarnation]:
    """The first generation of `otter` in a plain folder; its keeper and its tmux client are ended on leaving."""
    state, worktree = folder / "state", folder / "work"
    for made in (state, worktree):
        made.mkdir()
    spec = AgentSpec(
        template="test",
        source="test",
        repo=str(folder),
        name="otter",
        # Services get nothing from this process; a shell needs to find its programs.
        env={"PATH": os.environ["PATH"]},
        ports=POOL,
        services=services,
        volumes=tuple(volumes),
        inherited=("PATH",),
        assistant=assistant or AssistantSpec(command=("sleep", "600")),
    )
    store = await SqliteStore.open(folder / "state.db")
    await store.write(
        lambda tx: tx.insert_agent(AgentRecord(state=AgentState(id=agent, name="otter"), spec=spec))
    )
    sockets, used = HostSockets(), adapter or CommandAssistant()
    inc = Incarnation(
        id=agent,
        name="otter",
        generation=1,
        spec=spec,
        repo=Repository(root=folder, common_dir=folder / ".git", key="test-00000000"),
        instance=InstanceId("test"),
        layout=Layout(state_dir=state, worktree_root=folder),
        worktree=Worktree(path=worktree, branch="otter", base="0" * 40),
        systems=Systems(
            store=store,
            workspaces=GitWorkspaces(state),
            terminals=TmuxTerminals(folder / "s", folder / "config"),
            keepers=UnixKeepers(),
            processes=ProcProcesses(sockets),
            sockets=sockets,
            assistants={used.kind: used},
            secrets=lambda spec, environment: {},
            hook_command=lambda agent, generation, home: ("true",),
            balancer_command=lambda file: (sys.executable, "-I", "-S", balancer.__file__, str(file)),
            execute=execute,
            open_log=lambda path, policy, base: LogFile(
                str(path), max_bytes=policy.max_bytes, keep=policy.keep, base=base
            ),
        ),
    )
    try:
        yield inc
    finally:
        await anyio.to_thread.run_sync(end_keeper, inc.home)
        await inc.systems.terminals.stop()
        await store.close()
