"""A spawn is refused before it begins when this host has no room, and says what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.lease import PortLease
from envmgr.model.service import PortSpec, ProcessLimits, ServiceKind, ServiceSpec
from envmgr.model.spec import AgentSpec, AssistantSpec, Limits, PortsPolicy
from envmgr.protocols.gauges import FileSystem, FolderSize, Handles, HostFigures
from envmgr.protocols.processes import Usage
from envmgr.runtime.actor import Actor
from envmgr.runtime.admission import Refused, admit
from envmgr.runtime.measures import AgentUse, Measures, PartUse
from envmgr.runtime.room import Found, HostLimits, Room
from tests.support.requirements import proves

GB = 10**9
POOL = PortsPolicy(first=20000, last=20039, block=10)
HOST = HostFigures(
    processors=2,
    memory_bytes=16 * GB,
    available_bytes=8 * GB,
    max_open_files=10**6,
    max_processes=30_000,
    max_watchers=128,
    max_watches=100_000,
    systems={
        "worktrees": FileSystem(total_bytes=100 * GB, free_bytes=50 * GB, total_files=10**6, free_files=10**6)
    },
)
FOUND = Found(host=HOST, files=1000)
LIMITS = HostLimits(max_agents=50, min_free_memory_bytes=GB, min_free_disk_bytes=GB)
NOW = 10_000.0


def spec(
    memory_bytes: int | None = None,
    *,
    kind: str = "command",
    ports: int = 0,
    services: tuple[ServiceSpec, ...] = (),
) -> AgentSpec:
    named = tuple(PortSpec(name=f"p{n}") for n in range(ports))
    web = (ServiceSpec(name="web", kind=ServiceKind.PROCESS, command="x", ports=named),) if ports else ()
    return AgentSpec(
        template="t",
        source="s",
        repo="/r",
        name="otter",
        ports=POOL,
        limits=Limits(memory_bytes=memory_bytes),
        assistant=AssistantSpec(kind=kind),
        services=(*services, *web),
    )


def actor(lifecycle: Lifecycle, of: AgentSpec, *, since: float = NOW, number: int = 0) -> Actor:
    state = AgentState(
        id=AgentId(f"a{number}"), name=f"a{number}", lifecycle=lifecycle, generation=1, since=since
    )
    return Actor(state, of, 1, since)


def room(*actors: Actor, limits: HostLimits = LIMITS, uses: int = 0) -> Room:
    measures = Measures()
    for one in actors if uses else ():
        use = AgentUse(1, parts={"assistant": PartUse(usage=Usage(resident_bytes=uses, pids=(1,)))})
        use.settle()
        measures.agents[one.state.id] = use
    return Room(actors=lambda: actors, measures=measures, limits=limits, now=lambda: NOW)


@proves("ADMIT-001")
def test_there_is_room_below_the_limits() -> None:
    admit(spec(), room(), FOUND)
    admit(spec(7 * GB), room(), FOUND)


@proves("ADMIT-001")
def test_one_agent_too_many_is_refused() -> None:
    full = [actor(state, spec(), number=n) for n, state in enumerate((Lifecycle.SPAWNING, Lifecycle.RUNNING))]

    with pytest.raises(Refused, match="^2 agents are active; the limit is 2$") as refused:
        admit(spec(), room(*full, limits=replace(LIMITS, max_agents=2)), FOUND)

    assert "host.max_agents" in refused.value.hint
    assert refused.value.problem()["retryable"] is True
    assert refused.value.details["resource"] == "agents"


@proves("ADMIT-001")
@pytest.mark.parametrize(
    ("found", "wanted", "words"),
    [
        (FOUND, spec(7 * GB + 1), "8000 MB of memory are free; this agent takes 7000 MB \\(limits of the template\\), 1000 MB must remain"),
        (replace(FOUND, host=replace(HOST, available_bytes=2 * GB)), spec(kind="claude_code"), "this agent takes 1500 MB \\(usual for claude_code\\)"),
        (replace(FOUND, files=5_000_000, host=replace(HOST, systems={"worktrees": FileSystem(total_bytes=100 * GB, free_bytes=50 * GB, total_files=0, free_files=0)})), spec(), "of disk are free; this agent takes 60000 MB \\(the repository tracks 5000000 files\\)"),
        (replace(FOUND, host=replace(HOST, systems={"worktrees": FileSystem(total_bytes=10**12, free_bytes=10**12, total_files=10, free_files=10)})), spec(), "^10 inodes are free"),
        (replace(FOUND, leases=[PortLease(agent=AgentId("b"), service="s", name="p", port=20005, block=20000)]), spec(ports=31), "^3 blocks \\(ports\\) are free; this agent takes 4"),
        (replace(FOUND, host=replace(HOST, max_watchers=1)), spec(kind="claude_code"), "^1 instances \\(inotify instances\\) are free"),
        (replace(FOUND, host=replace(HOST, open_files=10**6)), spec(), "^0 files \\(open files\\) are free"),
        (replace(FOUND, host=replace(HOST, tasks=29_999)), spec(), "^1 processes are free"),
    ],
    ids=["memory stated", "memory usual", "disk", "inodes", "ports", "inotify", "open files", "processes"],
)  # fmt: skip
def test_what_runs_out_is_named_with_numbers(found: Found, wanted: AgentSpec, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        admit(wanted, room(), found)

    assert refused.value.hint


@proves("ADMIT-002")
@pytest.mark.parametrize(
    ("lifecycle", "since"),
    [(Lifecycle.SPAWNING, NOW), (Lifecycle.RUNNING, NOW - 60)],
    ids=["spawns", "has just begun"],
)
def test_what_starting_agents_will_take_is_kept_for_them(lifecycle: Lifecycle, since: float) -> None:
    others = [actor(lifecycle, spec(2 * GB), since=since, number=n) for n in range(3)]

    with pytest.raises(Refused, match="agents that are starting will take 6000 MB"):
        admit(spec(2 * GB), room(*others), FOUND)


@pytest.mark.parametrize(
    ("lifecycle", "since"),
    [(Lifecycle.RUNNING, NOW - 600), (Lifecycle.STOPPED, NOW), (Lifecycle.RUNNING, NOW + 3600)],
    ids=["runs", "stopped", "runs since before the clock was set back"],
)
def test_nothing_is_kept_for_who_does_not_start(lifecycle: Lifecycle, since: float) -> None:
    others = [actor(lifecycle, spec(2 * GB), since=since, number=n) for n in range(3)]

    admit(spec(2 * GB), room(*others), FOUND)


def test_what_starting_agents_have_taken_by_now_is_not_kept_twice() -> None:
    others = [actor(Lifecycle.SPAWNING, spec(2 * GB), number=n) for n in range(3)]

    admit(spec(2 * GB), room(*others, uses=1_500_000_000), FOUND)


def test_an_agent_that_was_admitted_and_is_not_yet_spawning_counts() -> None:
    coming = actor(Lifecycle.STOPPED, spec(6 * GB))
    coming.is_admitted = True

    with pytest.raises(Refused, match="will take 6000 MB"):
        admit(spec(2 * GB), room(coming), FOUND)


def test_an_agent_that_starts_again_is_not_kept_room_for_twice() -> None:
    again = actor(Lifecycle.SPAWNING, spec(5 * GB))

    admit(again.spec, room(again), FOUND, without=again)


def test_measured_agents_of_the_template_tell_more_than_what_is_usual() -> None:
    old = [actor(Lifecycle.RUNNING, spec(kind="claude_code"), since=0.0, number=n) for n in range(2)]
    supplies = {one.name: one for one in room(*old, uses=GB // 4).supplies(spec(kind="claude_code"), FOUND)}

    memory = supplies["memory"]
    assert (memory.each, memory.median, memory.basis) == (GB // 4, GB // 4, "p90 of 2 running agents of t")


def test_limits_of_services_and_the_assistant_add_up() -> None:
    db = ServiceSpec(
        name="db", kind=ServiceKind.PROCESS, command="x", replicas=2, limits=ProcessLimits(memory_bytes=GB)
    )
    supplies = {one.name: one for one in room().supplies(spec(kind="claude_code", services=(db,)), FOUND)}

    assert supplies["memory"].each == 2 * GB + 1_500_000_000


def test_a_host_that_tells_nothing_refuses_nothing_but_too_many() -> None:
    admit(spec(10**15), room(), Found())


def test_what_an_agent_takes_is_the_sum_of_its_parts_and_its_most_is_remembered() -> None:
    use = AgentUse(
        1, parts={"assistant": PartUse(), "web": PartUse(handles=Handles(open_files=3, watches=7))}
    )
    use.parts["assistant"].take(Usage(resident_bytes=100, tasks=2, pids=(1,)), 1.0)
    use.size = FolderSize(bytes=50, files=5)
    use.settle()
    use.parts["assistant"].take(Usage(resident_bytes=60, tasks=1, pids=(1,)), 2.0)
    use.settle()

    assert use.totals()["memory_bytes"] == 60
    assert use.peaks == {"memory_bytes": 100, "cpus": 0, "tasks": 2, "open_files": 3, "watchers": 0, "watches": 7, "disk_bytes": 50, "disk_files": 5}  # fmt: skip
