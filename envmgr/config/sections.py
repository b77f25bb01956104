"""Sections of a host's settings: each field is a key, what stands below it is its line in the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from envmgr.config.fields import Strict


class Host(Strict):
    """The machine and what agents may take of it."""

    max_agents: Annotated[int, Field(ge=1, le=500)] = 50
    """Agents that may exist in a started state at the same time."""
    min_free_memory_bytes: Annotated[int, Field(ge=0)] = 512 * 1024**2
    """Memory that must be left when a spawn begins."""
    min_free_disk_bytes: Annotated[int, Field(ge=0)] = 1024**3
    """Disk space that must be left where worktrees are when a spawn begins."""


class Ports(Strict):
    """Where port numbers come from; a template may say otherwise."""

    first: Annotated[int, Field(ge=1024, le=65535)] = 20000
    """First number of the pool."""
    last: Annotated[int, Field(ge=1024, le=65535)] = 29999
    """Last number of the pool; below the ephemeral ports of Linux (32768, ip(7))."""
    block: Annotated[int, Field(ge=1, le=1000)] = 20
    """Contiguous numbers leased to one agent."""

    @model_validator(mode="after")
    def _fits(self) -> Ports:
        if self.last - self.first + 1 < self.block:
            raise ValueError(f"{self.first} to {self.last} does not hold one block of {self.block}")
        return self


class Git(Strict):
    """Worktrees."""

    worktree_root: Path | None = None
    """Folder of the agents' worktrees; without it `worktrees` in the state folder."""
    checkout_deadline_s: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds that writing the files of one worktree may take."""


class Tmux(Strict):
    """The terminal server."""

    deadline_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds a tmux command may take before the server counts as not answering."""


class Docker(Strict):
    """The container engine."""

    host: str = ""
    """`unix://PATH` or `tcp://HOST:PORT`; without it DOCKER_HOST, else the usual sockets."""
    deadline_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds a look into the engine may take; what changes something may take six times as long."""


class Limits(Strict):
    """How limits of process services are enforced."""

    guard_period_s: Annotated[float, Field(ge=0.05, le=3600)] = 5.0
    """Seconds between two looks at what services use where the kernel sets them no limits; three in a row count."""


class Prevention(Strict):
    """What is measured, kept and foreseen, so that trouble is told before it comes."""

    period_s: Annotated[float, Field(ge=0.05, le=3600)] = 5.0
    """Seconds between two measurements of agents and host while something moves; fewer while nothing does."""
    raw_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0
    """Hours measurements are kept as they came; afterwards as means of minutes."""
    minute_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    """Days means of minutes are kept."""
    max_history_bytes: Annotated[int, Field(ge=2**20)] = 2**28
    """Size of the file of measurements above which the oldest are given up."""


class Health(Strict):
    """How services are looked at."""

    overload_per_cpu: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """Load of the machine for each processor above which a service that does not answer is not blamed; 0: it always is."""


class Recovery(Strict):
    """What is done by itself when something failed."""

    after_reboot: Literal["restore", "ask"] = "restore"
    """Whether agents that ran when the machine was restarted are started again by themselves."""
    restore_at_once: Annotated[int, Field(ge=1, le=50)] = 2
    """How many of them are started at the same time."""
    enabled: bool = True
    """Whether the recovery ladder takes measures by itself; failures are recorded in any case."""
    per_hour: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Measures of all agents together within an hour that lead to safe mode."""
    look_s: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    """Seconds between two looks at what is being mended; ten times that for what waits for something else."""
    cool_down_s: Annotated[float, Field(ge=0.1)] = 600.0
    """Seconds between two looks at an agent that waits for a person."""
    close_after_s: Annotated[float, Field(ge=0.1)] = 600.0
    """Seconds of health after which an incident is over."""
    patience_s: Annotated[float, Field(ge=0.1)] = 300.0
    """Seconds within which everything must become well after a measure."""
    canary_s: Annotated[float, Field(ge=0)] = 10.0
    """Seconds for which the first of many agents with the same trouble must be well before the others are mended."""
    safe_mode_s: Annotated[float, Field(ge=1)] = 3600.0
    """Seconds after which safe mode ends by itself."""


class Archive(Strict):
    """What is kept of sessions that have ended."""

    keep_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    """Days after which an entry goes, with the git ref that keeps its files; pinned ones stay."""
    max_bytes: Annotated[int, Field(ge=0)] = 5 * 2**30
    """Size of all entries above which the oldest go; what git keeps is not counted."""
    period_s: Annotated[float, Field(ge=0.05, le=86_400)] = 3600.0
    """Seconds between two looks at what has ended without being kept; what is too old goes with maintenance."""


class Watch(Strict):
    """Files that are watched."""

    polling: bool = False
    """Look at files every 2 s instead of asking the kernel; for network file systems."""


class Reaper(Strict):
    """Things that nobody owns any more."""

    enabled: bool = True
    """Remove them by itself; `envmgr reap` works in any case."""
    first_s: Annotated[float, Field(ge=0)] = 300.0
    """Seconds after the start of the daemon until it looks first; never less than the grace."""
    period_s: Annotated[float, Field(ge=0.1)] = 300.0
    """Seconds between two looks."""
    grace_s: Annotated[float, Field(ge=0)] = 300.0
    """Seconds for which a thing must have been nobody's before it goes."""
    young_s: Annotated[float, Field(ge=0)] = 300.0
    """Things younger than this many seconds are left alone, whoever asks."""
    again_s: Annotated[float, Field(ge=0)] = 2.0
    """Seconds between the two looks of `envmgr reap`."""
    at_most: Annotated[int, Field(ge=1, le=1000)] = 20
    """Removals in one pass."""
    call_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Seconds that one removal may take."""
    shared_daemons: tuple[str, ...] = ()
    """Globs over command lines of programs that serve everybody, whoever has started them; they are added to those that it knows."""
    disk_percent: Annotated[float, Field(gt=0, le=100)] = 80.0
    """Share of the disk in use above which caches, old archives and copies go early, when little is free as well."""
    inodes_percent: Annotated[float, Field(gt=0, le=100)] = 70.0
    """The same for inodes, however many bytes are free."""
    free_bytes: Annotated[int, Field(ge=0)] = 20_000_000_000
    """Bytes below which little is free: with more, nothing goes early however full a large disk is."""


class Maintenance(Strict):
    """How long things are kept, and how often what is older goes."""

    enabled: bool = True
    """Work by itself; `envmgr maintain` works in any case."""
    period_s: Annotated[float, Field(ge=1)] = 3600.0
    """Seconds between two rounds."""
    events_days: Annotated[float, Field(gt=0)] = 30.0
    """Days for which events are kept."""
    events_keep: Annotated[int, Field(ge=1)] = 100_000
    """So many events are kept, however old."""
    incidents_days: Annotated[float, Field(gt=0)] = 90.0
    """Days for which closed incidents and their bundles are kept."""
    copies_days: Annotated[float, Field(gt=0)] = 7.0
    """Days for which copies of volumes are kept that were made before a removal or a restore."""
    logs_days: Annotated[float, Field(gt=0)] = 14.0
    """Days for which rotated logs are kept."""
    log_bytes: Annotated[int, Field(ge=1000)] = 10_000_000
    """Size from which on the logs of the daemon and of keepers are rotated."""
    logs_keep: Annotated[int, Field(ge=1, le=100)] = 3
    """Rotated logs of the daemon, and of each keeper."""
    temp_days: Annotated[float, Field(gt=0)] = 1.0
    """Days after which half-written files go."""
    ports_days: Annotated[float, Field(gt=0)] = 7.0
    """Days for which a stopped agent's port numbers are kept for it."""
    free_percent: Annotated[float, Field(gt=0, le=100)] = 20.0
    """Share of free pages from which on the database gives them back."""


class Audit(Strict):
    """The record of who asked for what."""

    behind_s: Annotated[float, Field(ge=0, le=60)] = 0.2
    """Seconds that rows of calls which changed nothing may wait for each other before they are written."""
    seal_s: Annotated[float, Field(ge=0.05, le=86_400)] = 60.0
    """Seconds after which new rows are vouched for by a signed checkpoint outside of the database."""
    seal_rows: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """So many rows share a checkpoint at most; when there are as many, it is made at once."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 90.0
    """Days after which rows go from the database into files."""
    keep_rows: Annotated[int, Field(ge=1)] = 1_000_000
    """So many rows stay in the database at most; older ones go into files earlier."""
    files_days: Annotated[float, Field(gt=0, le=36_500)] = 730.0
    """Days after which these files are deleted."""


class Sessions(Strict):
    """Who works beside whom, and what is left by those that ended."""

    stale_s: Annotated[float, Field(ge=0.1, le=30 * 86_400)] = 900.0
    """Seconds without a sign of life after which a session counts as stale; what it held is given back."""
    period_s: Annotated[float, Field(ge=0.01, le=3600)] = 2.0
    """Seconds between two looks at sessions; signs of life are written down this often."""
    keep_days: Annotated[float, Field(gt=0, le=3650)] = 90.0
    """Days for which handoffs and ended sessions are kept; the newest handoff of each agent stays."""


class Queue(Strict):
    """Tasks that agents take from each other and from people."""

    lease_s: Annotated[float, Field(ge=0.5, le=86_400)] = 900.0
    """Seconds for which whoever has a task may be silent before somebody else gets it."""
    back_off_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """Seconds before a failed task is tried again; doubled with each failure."""
    most_back_off_s: Annotated[float, Field(ge=0, le=7 * 86_400)] = 3600.0
    """The longest such pause."""
    ageing_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 7200.0
    """A task that waited for so many seconds longer goes before one that is a step more urgent; 0: never."""
    max_batch: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Tasks that one request may submit."""
    remember_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 86_400.0
    """Seconds for which an idempotency key is known."""
    keep_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    """Days for which tasks that are over are kept."""
    period_s: Annotated[float, Field(ge=0.01, le=3600)] = 1.0
    """Seconds between two looks at leases, moments and holders that are gone."""
    dispatch_s: Annotated[float, Field(ge=0.05, le=3600)] = 5.0
    """Seconds between two looks for idle agents that wait for a task; events make it look at once."""


class Memory(Strict):
    """What agents remember for each other."""

    dedup_window_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 3600.0
    """Seconds within which the same memory is stored once."""
    half_life_days: Annotated[float, Field(gt=0, le=36_500)] = 90.0
    """Days after which a memory has lost half of what age can take from its rank, a fifth at most."""
    model: Path | None = None
    """Folder of a sentence model (MiniLM: `model.safetensors`, `tokenizer.json`, `config.json`) that reranks what full text found; needs the extra `vectors`."""


class Log(Strict):
    """What envmgr writes about itself."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least important level that is written."""
