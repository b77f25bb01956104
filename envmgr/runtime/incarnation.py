"""One generation of one agent: its names, paths, ports, and the systems it is built from."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.aio.turns import Turns
from envmgr.core.replicas import expand
from envmgr.errors import Unavailable
from envmgr.model.handoff import Talk
from envmgr.model.ids import AgentId, InstanceId, session_name
from envmgr.model.observe import Absent, Present, ProcessIdentity
from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AgentSpec
from envmgr.protocols.assistant import Assistant, Place
from envmgr.protocols.engine import Engine
from envmgr.protocols.gauges import Gauges
from envmgr.protocols.keepers import Keepers
from envmgr.protocols.logs import OpenLog
from envmgr.protocols.processes import Marks, Processes, Sockets
from envmgr.protocols.scopes import Scopes
from envmgr.protocols.series import Series
from envmgr.protocols.store import Store
from envmgr.protocols.terminals import Terminal, Terminals
from envmgr.protocols.workspaces import Repository, Workspaces, Worktree
from envmgr.runtime.container_watch import ContainerWatch
from envmgr.services.keys import Keys

_PROC_S = 5.0
_SECRETS_S = 60.0

ResolveSecrets = Callable[[AgentSpec, Mapping[str, str]], Mapping[str, str]]
"""(spec, spawning person's environment) -> values by name; raises ConfigError naming the missing one."""

ToolsCommand = Callable[[str], Sequence[str]]
"""(which tools) -> argv of an MCP server on stdio."""

HookCommand = Callable[[AgentId, int, Path], Sequence[str]]
"""(agent, generation, home) -> argv prefix by which an assistant's hook reports to the daemon."""

ReadTalk = Callable[[Mapping[str, str], str], Talk]
"""(assistant's environment, id of its conversation) -> the end of it; blocking."""

BalancerCommand = Callable[[Path], Sequence[str]]
"""(file that names its ports and instances) -> argv of a balancer."""

Execute = Callable[[Sequence[str], Path, Mapping[str, str], float], Awaitable[tuple[int, str]]]
"""(argv, cwd, environment, seconds) -> exit status and the end of its output; killed when time is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """The outside world, as chosen by `bootstrap`.

    Attributes:
        now: Unix time, for stamps that people read.
        talks: By kind of assistant, for those whose conversations can be read.
        steady: Unix time that no setting of the wall clock moves, for budgets, windows and graces (see `runtime.steady`).
        keys: Of agents and programs; None where nobody asks for one.
        command_folder: Has the command `envmgr`, and nothing else; None when there is none.
    """

    store: Store
    workspaces: Workspaces
    terminals: Terminals
    keepers: Keepers
    processes: Processes
    sockets: Sockets
    assistants: Mapping[str, Assistant]
    secrets: ResolveSecrets
    hook_command: HookCommand
    balancer_command: BalancerCommand
    execute: Execute
    open_log: OpenLog
    tools_command: ToolsCommand = lambda which: ()
    command_folder: Path | None = None
    keys: Keys | None = None
    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.time
    scopes: Scopes = Scopes()
    series: Series = field(default_factory=Series)
    gauges: Gauges = field(default_factory=Gauges)
    talks: Mapping[str, ReadTalk] = field(default_factory=dict)
    engine: Engine | None = None
    watch: ContainerWatch | None = None
    turns: Turns = field(default_factory=Turns)

    @property
    def containers(self) -> Engine:
        """The container engine. Raises Unavailable when this installation has none."""
        if self.engine is None:
            raise Unavailable(
                "this needs a container engine", hint="Install Docker; `envmgr doctor` tells more."
            )
        return self.engine

    @property
    def container_watch(self) -> ContainerWatch:
        """What becomes of containers; there whenever the engine is."""
        assert self.watch is not None, "bootstrap makes it together with the engine"
        return self.watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things of this installation live.

    Attributes:
        keep_free_bytes: What a large copy must leave on its disk.
    """

    state_dir: Path
    worktree_root: Path
    keep_free_bytes: int = 2**28

    def home(self, agent: AgentId) -> Path:
        """The agent's private folder: configuration, keeper, logs."""
        return self.state_dir / "agents" / agent

    @property
    def incidents(self) -> Path:
        """Folder of the context bundles."""
        return self.state_dir / "incidents"

    @property
    def archive(self) -> Path:
        """Folder of what is kept of agents that were stopped or removed."""
        return self.state_dir / "archive"

    @property
    def snapshots(self) -> Path:
        """Folder of what snapshots hold beside the worktree."""
        return self.state_dir / "snapshots"

    def worktree(self, repo: Repository, name: str) -> Path:
        """Outside every checkout, named by repository and agent (R-6, R-19)."""
        return self.worktree_root / repo.key / name


GIT_RUNS = "git-runs"
"""The moment in the worktree step after which session and environment begin.

git's work is the longest way through a spawn. Whatever runs before it in this process keeps it waiting: starting a
child holds the interpreter lock, several milliseconds when the processors are busy.
"""


@dataclass(slots=True, kw_only=True)
class Incarnation:
    """Everything steps share about one generation. `ports` and `terminal` are filled as steps finish.

    Attributes:
        environment: The spawning person's environment, for secrets; memory only, lost with the daemon.
        prior: The worktree of an earlier generation, to be used again.
        was_inhabited: An assistant was started, so the worktree may hold work.
        unsure: Kind and name of what the engine was asked to make and gave no answer about; it may still appear.
        asked_engine: How often this spawn has asked the engine to make something and was not surely refused; None for a
            generation that another daemon began.
        serving: Instances of replicated services that can take connections, as last seen.
        balancing: Held while a balancer is told about them.
        leaving: Held while a handoff is written for it.
        pane_pid: Process of the agent pane, from the moment in which it waits at the gate.
        is_frozen: Its containers are paused while their volumes are copied: what probes see meanwhile counts for nothing.
    """

    id: AgentId
    name: str
    generation: int
    spec: AgentSpec
    repo: Repository
    instance: InstanceId
    layout: Layout
    systems: Systems
    environment: Mapping[str, str] = field(default_factory=dict)
    prior: Worktree | None = None
    worktree: Worktree | None = None
    ports: dict[tuple[str, str], int] = field(default_factory=dict)
    terminal: Terminal | None = None
    was_inhabited: bool = False
    pane_pid: int = 0
    is_frozen: bool = False
    unsure: set[tuple[str, str]] = field(default_factory=set)
    asked_engine: int | None = None
    serving: set[str] = field(default_factory=set)
    balancing: anyio.Lock = field(default_factory=anyio.Lock)
    leaving: anyio.Lock = field(default_factory=anyio.Lock)
    _units: tuple[AgentSpec, tuple[ServiceSpec, ...]] | None = None
    _made: set[str] = field(default_factory=set)
    _news: anyio.Event = field(default_factory=anyio.Event)

    def has_made(self, step: str) -> None:
        """A step is done; wakes the steps of its stage that wait for it."""
        self._made.add(step)
        self._news.set()
        self._news = anyio.Event()

    async def until_made(self, *steps: str) -> None:
        """Until all these steps are done; their failure cancels the one that waits."""
        while not self._made.issuperset(steps):
            await self._news.wait()

    @property
    def home(self) -> Path:
        """The agent's private folder."""
        return self.layout.home(self.id)

    @property
    def path(self) -> Path:
        """The worktree's folder, also before it exists."""
        made = self.worktree or self.prior
        return made.path if made else self.layout.worktree(self.repo, self.name)

    @property
    def owner(self) -> str:
        """Tag of what belongs to this agent in any generation."""
        return f"{self.instance}/{self.id}"

    @property
    def tag(self) -> str:
        """Tag of what belongs to this generation only."""
        return f"{self.owner}/{self.generation}"

    @property
    def session(self) -> str:
        """Name of the terminal session."""
        return session_name(self.id, self.generation)

    @property
    def assistant(self) -> Assistant:
        """The adapter of the agent's assistant."""
        return self.systems.assistants[self.spec.assistant.kind]

    @property
    def services(self) -> tuple[ServiceSpec, ...]:
        """What runs: the services of the spec, replicated ones as their instances and who stands in front."""
        if self._units is None or self._units[0] is not self.spec:
            self._units = (self.spec, expand(self.spec.services))
        return self._units[1]

    def service(self, name: str) -> ServiceSpec:
        """One of `services` by name."""
        return next(s for s in self.services if s.name == name)

    def port(self, service: str, name: str) -> int:
        """The leased port (or, for an external service, where it listens)."""
        return self.ports[service, name]

    @property
    def has_ports(self) -> bool:
        """Whether all ports of the spec are leased. Without them nothing that knows its environment was started."""
        return all((s.name, p.name) in self.ports for s in self.services for p in s.ports)

    async def secrets(self, more: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Values of the spec's secrets by name, fetched now and kept nowhere.

        Args:
            more: Environment of another person who asks.

        Raises:
            ConfigError: Names the missing one, as after a restart of the daemon that had the environment.
        """
        if not self.spec.secrets:
            return {}
        # Files and commands may take their time.
        known = {**self.environment, **(more or {})}
        return await blocking.look("file", _SECRETS_S, self.systems.secrets, self.spec, known)

    def marker(self, part: str = "") -> dict[str, str]:
        """Environment variables that every process of the agent (or of one part) carries."""
        marks = {"ENVMGR_INSTANCE": self.instance, "ENVMGR_AGENT": self.id}
        return {**marks, "ENVMGR_PART": part} if part else marks

    def marks(self, *roots: ProcessIdentity, part: str = "") -> Marks:
        """What to look for when the processes of the agent (or of one part) are wanted."""
        return Marks(roots=roots, marker=self.marker(part), cwd=self.path, ports=tuple(self.ports.values()))

    def place(self, env: Mapping[str, str], *, conversation: str = "", handoff: Path | None = None) -> Place:
        """Where the assistant runs."""
        return Place(
            worktree=self.path,
            home=self.home,
            env=env,
            hook_command=self.systems.hook_command(self.id, self.generation, self.home),
            conversation=conversation,
            handoff=handoff,
            tools_command=self.tools_command,
        )

    @property
    def tools_command(self) -> Sequence[str]:
        """argv of the assistant's MCP server; empty when it gets none."""
        which = self.spec.assistant.tools
        return () if which == "off" else self.systems.tools_command(which)

    async def identify(self, pid: int) -> ProcessIdentity | None:
        """Who has this pid now; None when nobody."""
        return await blocking.look("proc", _PROC_S, self.systems.processes.identify, pid)

    async def look_for_terminal(self) -> Terminal | None:
        """The session of this generation as it is now; as it was last seen while nobody can tell."""
        match await self.systems.terminals.look(self.session, owner=self.tag):
            case Present(terminal):
                self.terminal = terminal
            case Absent():
                self.terminal = None
        return self.terminal

    async def find_terminal(self) -> Terminal | None:
        """The session of this generation if it surely exists; remembered."""
        if self.terminal is None:
            match await self.systems.terminals.look(self.session, owner=self.tag):
                case Present(terminal):
                    self.terminal = terminal
        return self.terminal
