"""Two specs, and what lies between them for an agent that runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envmgr.core.change import plan
from envmgr.model.change import Fate, Impact, Plan, UnitChange
from envmgr.model.container import ContainerSpec, MountKind, MountSpec, Scope, VolumeSpec
from envmgr.model.probe import AllOf, HttpProbe, NotifyProbe, Readiness, TcpProbe
from envmgr.model.service import (
    ChangeAction,
    Condition,
    Dependency,
    LogPolicy,
    PortSpec,
    ProcessLimits,
    Reaction,
    RestartPolicy,
    ServiceKind,
    ServiceSpec,
    StopPolicy,
    WatchSpec,
)
from envmgr.model.spec import AgentSpec, AssistantSpec, SecretRef, SecretSource, WorkspaceSpec
from tests.support.requirements import proves

HTTP = PortSpec(name="http")
API = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="serve", ports=(HTTP,))
PGDATA = MountSpec(kind=MountKind.VOLUME, source="pgdata", target="/data")
DB = ServiceSpec(
    name="db",
    kind=ServiceKind.CONTAINER,
    ports=(PortSpec(name="sql", container=5432),),
    container=ContainerSpec(image="postgres:16", mounts=(PGDATA,)),
)


def spec(*services: ServiceSpec, **more: Any) -> AgentSpec:
    return AgentSpec(
        template="shop", source="shop.yaml", repo="/repo", name="otter", services=services, **more
    )


def needs(service: ServiceSpec, *edges: Dependency) -> ServiceSpec:
    return replace(service, depends_on=edges)


def boxed(**edit: Any) -> ServiceSpec:
    """The database in another container."""
    assert DB.container is not None
    return replace(DB, container=replace(DB.container, **edit))


def edge(to: str, *, restart: bool = False) -> Dependency:
    return Dependency(service=to, condition=Condition.STARTED, restart=restart)


def between(old: ServiceSpec, new: ServiceSpec) -> UnitChange:
    """The one change when only this service differs."""
    (change,) = plan(spec(old), spec(new)).units
    return change


def named(found: Plan) -> dict[str, UnitChange]:
    return {change.unit: change for change in found.units}


LIVE_EDITS: list[dict[str, Any]] = [
    {"ready": Readiness(probe=TcpProbe(port="http"), period_s=3.0)},
    {"critical": False},
    {"description": "the API"},
    {"restart": RestartPolicy(max_s=5.0)},
    {"success_exit_codes": (0, 3)},
    {"fatal_exit_codes": (9,)},
    {"stop": StopPolicy(grace_s=1.0)},
    {"timeout_s": 5.0},
    {"watch": (WatchSpec(paths=("src",)),)},
    {"on_env_change": Reaction(action=ChangeAction.NONE)},
    {"exports": {"API": "http://127.0.0.1:${ports.http}"}},
    {"ports": (replace(HTTP, open=True),)},
]
RESTART_EDITS: list[dict[str, Any]] = [
    {"command": ("serve", "--fast")},
    {"cwd": "app"},
    {"shell": "/bin/bash"},
    {"env": {"LOG": "debug"}},
    {"limits": ProcessLimits(nofile=64)},
    {"ports": (replace(HTTP, env="HTTP"),)},
]
REPLAN_EDITS: list[dict[str, Any]] = [
    {"ports": (HTTP, PortSpec(name="admin"))},
    {"ports": ()},
    {"ports": (replace(HTTP, prefer=8080, fixed=True),)},
    {"scope": Scope.SHARED},
    {"container": ContainerSpec(image="api"), "kind": ServiceKind.CONTAINER},
]
RECREATE_EDITS: list[dict[str, Any]] = [
    {"image": "postgres:17"},
    {"networks": ("back",)},
    {"user": "postgres"},
    {"mounts": (PGDATA, MountSpec(kind=MountKind.BIND, source="conf", target="/conf"))},
    {"entrypoint": ("sh",)},
]


@proves("RELOAD-001")
@pytest.mark.parametrize("edit", LIVE_EDITS, ids=lambda edit: next(iter(edit)))
def test_what_only_envmgr_reads_is_taken_over_live(edit: dict[str, Any]) -> None:
    assert between(API, replace(API, **edit)).impact is Impact.LIVE


@proves("RELOAD-001")
@pytest.mark.parametrize("edit", RESTART_EDITS, ids=lambda edit: next(iter(edit)))
def test_what_a_process_got_at_its_start_restarts_it_and_recreates_a_container(edit: dict[str, Any]) -> None:
    contained = replace(API, kind=ServiceKind.CONTAINER, container=ContainerSpec(image="api"))

    assert between(API, replace(API, **edit)).impact is Impact.RESTART
    assert between(contained, replace(contained, **edit)).impact is Impact.RECREATE


@proves("RELOAD-001")
@pytest.mark.parametrize("edit", REPLAN_EDITS, ids=["added", "removed", "fixed", "scope", "kind"])
def test_what_changes_the_set_of_things_or_their_ports_is_planned_anew(edit: dict[str, Any]) -> None:
    assert between(API, replace(API, **edit)).impact is Impact.REPLAN


@proves("RELOAD-001")
@pytest.mark.parametrize("edit", RECREATE_EDITS, ids=lambda edit: next(iter(edit)))
def test_what_a_container_is_made_with_recreates_it(edit: dict[str, Any]) -> None:
    change = between(DB, boxed(**edit))

    assert change.impact is Impact.RECREATE
    assert [field.path.split(".")[:2] for field in change.fields] == [["container", next(iter(edit))]]


@proves("RELOAD-001")
def test_log_sizes_and_preferred_ports_wait_for_the_next_start() -> None:
    changed = replace(API, logs=LogPolicy(keep=1), ports=(replace(HTTP, prefer=9000),))

    change = between(API, changed)

    assert change.impact is Impact.NONE
    assert {(f.path, f.old, f.new) for f in change.fields} == {
        ("logs.keep", "5", "1"),
        ("ports.http.prefer", "", "9000"),
    }
    assert all(f.note for f in change.fields)


def test_equal_specs_have_no_difference() -> None:
    found = plan(spec(API, DB), spec(API, DB))

    assert found.is_empty
    assert found.impact is Impact.NONE


def test_fields_are_named_with_their_old_and_their_new_value() -> None:
    ready = Readiness(probe=HttpProbe(port="http", path="/"))
    old = replace(API, ready=ready)

    new = replace(old, ready=replace(ready, period_s=3.0, probe=HttpProbe(port="http", path="/up")))

    assert {(f.path, f.old, f.new) for f in between(old, new).fields} == {
        ("ready.probe.path", "/", "/up"),
        ("ready.period", "10.0", "3.0"),
    }


def test_a_probe_of_another_kind_is_one_difference() -> None:
    old = replace(API, ready=Readiness(probe=TcpProbe(port="http")))

    (field,) = between(old, replace(API, ready=Readiness(probe=HttpProbe(port="http")))).fields

    assert field.path == "ready.probe"
    assert "path=/" in field.new


def test_a_probe_that_needs_a_socket_given_at_the_start_restarts() -> None:
    new = replace(API, ready=Readiness(probe=AllOf(probes=(NotifyProbe(), TcpProbe(port="http")))))

    assert between(API, new).impact is Impact.RESTART


@proves("RELOAD-002")
@pytest.mark.parametrize(
    ("action", "impact"),
    [
        (ChangeAction.NONE, Impact.NONE),
        (ChangeAction.SIGNAL, Impact.SIGNAL),
        (ChangeAction.EXEC, Impact.SIGNAL),
        (ChangeAction.RESTART, Impact.RESTART),
        (ChangeAction.RECREATE, Impact.RESTART),
    ],
)
def test_a_changed_variable_does_what_on_env_change_says(action: ChangeAction, impact: Impact) -> None:
    old = replace(API, on_env_change=Reaction(action=action))

    change = between(old, replace(old, env={"LOG": "debug"}))

    assert change.impact is impact
    assert [(f.path, f.old, f.new) for f in change.fields] == [("env.LOG", "", "debug")]


@proves("RELOAD-002")
def test_a_variable_of_the_template_reaches_every_service_but_not_those_that_say_otherwise() -> None:
    own = replace(API, name="own", env={"LOG": "mine"})

    found = plan(spec(API, own, env={"LOG": "info"}), spec(API, own, env={"LOG": "debug"}))

    assert list(named(found)) == ["api"]
    assert [(f.path, f.impact) for f in found.fields] == [("env.LOG", Impact.LIVE)]


@proves("RELOAD-002")
def test_a_secret_from_elsewhere_is_a_changed_variable_and_never_a_value() -> None:
    def refs(key: str) -> tuple[SecretRef, ...]:
        return (SecretRef(name="KEY", source=SecretSource.FILE, key=key),)

    (field,) = named(plan(spec(API, secrets=refs("a")), spec(API, secrets=refs("b"))))["api"].fields

    assert (field.path, field.old, field.new, field.impact) == (
        "env.KEY",
        "file a",
        "file b",
        Impact.RESTART,
    )


@proves("RELOAD-003")
def test_a_changed_export_reaches_those_that_use_it_and_nobody_else() -> None:
    db = replace(DB, exports={"URL": "pg://127.0.0.1:${ports.sql}/a"})
    user = needs(API, edge("db"))
    further = needs(replace(API, name="web"), edge("api"))
    stranger = replace(API, name="stranger")
    new = replace(db, exports={"URL": "pg://127.0.0.1:${ports.sql}/b"})

    found = named(plan(spec(db, user, further, stranger), spec(new, user, further, stranger)))

    assert {name: change.impact for name, change in found.items()} == {
        "db": Impact.LIVE,
        "api": Impact.RESTART,
        "web": Impact.RESTART,
    }
    assert found["api"].fields[0].note == "exported by db"
    assert "${services.db.ports.sql}/b" in found["api"].fields[0].new


@proves("RELOAD-003")
def test_dependants_follow_a_restart_only_where_the_edge_says_so_and_along_a_chain() -> None:
    api = needs(API, edge("db", restart=True))
    web = needs(replace(API, name="web"), edge("api", restart=True))
    calm = needs(replace(API, name="calm"), edge("db"))
    new = boxed(image="postgres:17")

    found = plan(spec(DB, api, web, calm), spec(new, api, web, calm))

    assert [(c.unit, c.fate, c.impact, c.because) for c in found.units] == [
        ("db", Fate.CHANGED, Impact.RECREATE, ""),
        ("api", Fate.FOLLOWS, Impact.RESTART, "restarts with db"),
        ("web", Fate.FOLLOWS, Impact.RESTART, "restarts with api"),
    ]


@proves("RELOAD-003")
def test_nobody_follows_a_live_change() -> None:
    api = needs(API, edge("db", restart=True))

    found = plan(spec(DB, api), spec(replace(DB, critical=False), api))

    assert list(named(found)) == ["db"]


@proves("RELOAD-003")
def test_a_unit_that_changes_a_little_follows_with_all_its_changes() -> None:
    api = needs(API, edge("db", restart=True))
    changed = replace(api, description="calls the database")

    found = named(plan(spec(DB, api), spec(replace(DB, limits=ProcessLimits(memory_bytes=1)), changed)))

    assert (found["api"].fate, found["api"].impact) == (Fate.CHANGED, Impact.RESTART)
    assert [f.path for f in found["api"].fields] == ["description"]


@proves("RELOAD-003")
@pytest.mark.parametrize("where", ["own env", "template env", "command", "export"])
def test_a_port_that_moves_takes_those_along_that_were_started_with_its_number(where: str) -> None:
    reference = "${services.mail.ports.smtp}"

    def services(number: int) -> list[ServiceSpec]:
        mail = ServiceSpec(
            name="mail",
            kind=ServiceKind.EXTERNAL,
            ports=(PortSpec(name="smtp", number=number),),
            exports={"SMTP": "${ports.smtp}"} if where == "export" else {},
        )
        api = needs(API, edge("mail"))
        if where == "own env":
            api = replace(api, env={"SMTP": reference})
        if where == "command":
            api = replace(api, command=f"serve --smtp {reference}")
        return [mail, api, replace(API, name="other", env={"SMTP": "none"})]

    env = {"SMTP": reference} if where == "template env" else {}

    found = named(plan(spec(*services(25), env=env), spec(*services(26), env=env)))

    assert {name: change.impact for name, change in found.items()} == {
        "mail": Impact.LIVE,
        "api": Impact.RESTART,
    }
    assert found["api"].because == "uses a port of mail that moves"


def test_services_come_and_go() -> None:
    web = needs(replace(API, name="web"), edge("api"))

    found = plan(spec(DB, API), spec(API, web))

    assert [(c.unit, c.fate, c.impact) for c in found.units] == [
        ("db", Fate.REMOVED, Impact.REPLAN),
        ("web", Fate.ADDED, Impact.REPLAN),
    ]


def test_a_service_that_is_replicated_becomes_its_balancer_and_instances_come() -> None:
    found = plan(spec(API), spec(replace(API, replicas=2)))

    assert {name: (change.fate, change.impact) for name, change in named(found).items()} == {
        "api-0": (Fate.ADDED, Impact.REPLAN),
        "api-1": (Fate.ADDED, Impact.REPLAN),
        "api": (Fate.CHANGED, Impact.REPLAN),
    }


def test_more_replicas_leave_those_alone_that_are_there() -> None:
    found = plan(spec(replace(API, replicas=2)), spec(replace(API, replicas=3)))

    assert {name: (change.fate, change.impact) for name, change in named(found).items()} == {
        "api-2": (Fate.ADDED, Impact.REPLAN),
        "api": (Fate.CHANGED, Impact.LIVE),
    }


@proves("RELOAD-004")
@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        ((), "db no longer uses volume pgdata at /data"),
        ((replace(PGDATA, target="/elsewhere"),), "db no longer uses volume pgdata at /data"),
        ((replace(PGDATA, source="other"),), "db uses volume other instead of pgdata"),
        ((MountSpec(kind=MountKind.TMPFS, target="/data"),), "db no longer uses volume pgdata"),
    ],
)
def test_a_volume_that_is_no_longer_mounted_needs_a_yes(mounts: tuple[MountSpec, ...], words: str) -> None:
    (sentence,) = plan(spec(DB), spec(boxed(mounts=mounts))).consents

    assert words in sentence
    assert "stays" in sentence


@proves("RELOAD-004")
def test_a_new_image_on_the_same_volume_needs_none_and_an_anonymous_volume_does() -> None:
    nameless = replace(PGDATA, source="")
    old, new = (replace(DB, container=ContainerSpec(image=image, mounts=(nameless,))) for image in ("a", "b"))

    assert plan(spec(DB), spec(boxed(image="postgres:17"))).consents == ()
    assert "anonymous volume at /data" in plan(spec(old), spec(new)).consents[0]


@proves("RELOAD-004")
def test_a_service_with_a_volume_that_goes_and_a_volume_of_another_scope_need_a_yes() -> None:
    volumes = (VolumeSpec(name="pgdata"),)
    shared = (VolumeSpec(name="pgdata", scope=Scope.SHARED),)

    assert plan(spec(DB, volumes=volumes), spec(volumes=volumes)).consents
    assert "becomes shared" in plan(spec(DB, volumes=volumes), spec(DB, volumes=shared)).consents[0]


def test_files_of_a_build_that_changed_recreate_its_containers() -> None:
    found = plan(spec(DB, API), spec(DB, API), builds=({"db": "aa"}, {"db": "bb"}))

    assert [(c.unit, c.impact) for c in found.units] == [("db", Impact.RECREATE)]
    assert plan(spec(DB), spec(DB), builds=({}, {"db": "bb"})).is_empty


def test_one_agent_never_restarts_what_others_share() -> None:
    shared = replace(DB, scope=Scope.SHARED)
    api = needs(API, edge("db", restart=True))

    found = named(plan(spec(shared, api), spec(replace(shared, env={"A": "1"}), api)))

    assert {name: change.impact for name, change in found.items()} == {"db": Impact.NONE}
    assert "shared" in found["db"].fields[0].note


def test_the_assistant_is_never_restarted_by_a_plan() -> None:
    def agent(model: str, base: str) -> AgentSpec:
        return spec(
            assistant=AssistantSpec(kind="claude_code", model=model), workspace=WorkspaceSpec(base=base)
        )

    found = plan(agent("opus", "main"), agent("haiku", "dev"))

    assert not found.units
    assert {(f.path, f.impact, f.note.split(":")[0]) for f in found.fields} == {
        ("assistant.model", Impact.REPLAN, "at the agent's next start"),
        ("workspace.base", Impact.NONE, "only new agents"),
    }


def test_the_fingerprint_tells_one_plan_from_another() -> None:
    def to(command: str) -> str:
        return plan(spec(API), spec(replace(API, command=command))).fingerprint

    assert to("a") == to("a") != to("b")
