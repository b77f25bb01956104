"""Replicas, restarts, reactions, profiles: every key reaches the spec, and what cannot be is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.errors import ConfigError, UsageError
from envmgr.model.container import ContainerSpec, Scope
from envmgr.model.service import (
    ChangeAction,
    Condition,
    Dependency,
    Rate,
    Reaction,
    RestartPolicy,
    RestartWhen,
    RunWhen,
    ServiceKind,
    ServiceSpec,
    Tenant,
    WatchSpec,
)
from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


EVERYTHING = (
    HEAD
    + """\
agent: {}
gc: {volumes: remove}
services:
  api:
    command: serve
    replicas: 3
    restart:
      {policy: always, initial: 500ms, factor: 3, max: 20s, jitter: 0, budget: 3/5m, flap: 9/2h, reset_after: 30s}
    fatal_exit_codes: [2]
    watch:
      - {paths: src, include: ["**/*.py"], exclude: [src/gen], cascade: true, debounce: 1s}
      - {paths: [a, b], action: exec, command: "reload ${ports.http}"}
    on_env_change: {action: signal, signal: usr1}
    depends_on: {db: {condition: started, restart: true}}
    ports: [http]
  db:
    image: postgres
    scope: shared
    tenant: {create: "createdb ${agent.slug}", drop: [dropdb, "${agent.slug}"], timeout: 9s}
  migrate:
    kind: task
    command: migrate
    run_when: {changed: [db/**], env: DATABASE_URL}
"""
)


@proves("TMPL-006")
def test_every_key_of_a_running_service_reaches_its_spec(desk: Desk) -> None:
    spec = desk.spec(EVERYTHING)

    api, db, migrate = spec.services
    assert api.replicas == 3
    assert api.restart == RestartPolicy(
        when=RestartWhen.ALWAYS,
        initial_s=0.5,
        factor=3.0,
        max_s=20.0,
        jitter=0.0,
        budget=Rate(count=3, window_s=300.0),
        flap=Rate(count=9, window_s=7200.0),
        reset_after_s=30.0,
    )
    assert api.fatal_exit_codes == (2,)
    assert api.watch == (
        WatchSpec(paths=("src",), include=("**/*.py",), exclude=("src/gen",), cascade=True, debounce_s=1.0),
        WatchSpec(
            paths=("a", "b"), reaction=Reaction(action=ChangeAction.EXEC, command="reload ${ports.http}")
        ),
    )
    assert api.on_env_change == Reaction(action=ChangeAction.SIGNAL, signal="SIGUSR1")
    assert api.depends_on == (Dependency(service="db", condition=Condition.STARTED, restart=True),)
    assert db == ServiceSpec(
        name="db",
        kind=ServiceKind.CONTAINER,
        command=(),
        container=ContainerSpec(image="postgres"),
        restart=RestartPolicy(),
        scope=Scope.SHARED,
        tenant=Tenant(create="createdb blue-otter", drop=("dropdb", "blue-otter"), timeout_s=9.0),
    )
    assert migrate.restart is None
    assert migrate.run_when == RunWhen(changed=("db/**",), env=("DATABASE_URL",))
    assert spec.retention.volumes == "remove"


@pytest.mark.parametrize(
    ("keys", "attribute", "value"),
    [
        ("restart: never", "restart", RestartPolicy(when=RestartWhen.NEVER)),
        ("watch: src", "watch", (WatchSpec(paths=("src",)),)),
        ("watch: [src, lib]", "watch", (WatchSpec(paths=("src", "lib")),)),
        ("on_env_change: none", "on_env_change", Reaction(action=ChangeAction.NONE)),
    ],
)
def test_short_forms_mean_the_usual(desk: Desk, keys: str, attribute: str, value: object) -> None:
    spec = desk.spec(WHOLE + f"services: {{a: {{command: x, {keys}}}}}\n")

    assert getattr(spec.services[0], attribute) == value


def test_restarts_by_default_are_for_what_keeps_running(desk: Desk) -> None:
    text = (
        "defaults: {restart: always}\nservices:\n  a: {command: x}\n  b: {command: x, restart: {max: 5s}}\n"
        "  c: {kind: task, command: x}\n"
    )

    a, b, c = desk.spec(WHOLE + text).services

    assert (a.restart, b.restart, c.restart) == (
        RestartPolicy(when=RestartWhen.ALWAYS),
        RestartPolicy(max_s=5.0),
        None,
    )


def test_waiting_for_a_log_line_is_waiting_for_readiness(desk: Desk) -> None:
    text = "services: {a: {command: x, ready: {all: [{log: up}, {exec: 'true'}]}}, b: {command: x, depends_on: {a: process_log_ready}}}\n"

    assert desk.spec(WHOLE + text).services[1].depends_on == (
        Dependency(service="a", condition=Condition.READY),
    )


PROFILES = (
    HEAD
    + """\
agent: {}
profiles: {tools: [shell, lens]}
services:
  api: {command: x, depends_on: {lens: {required: false}}}
  lens: {command: x, profiles: debug, ports: [http]}
  shell: {command: x, env: {LENS: "${services.lens.ports.http}"}}
"""
)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [((), ["api"]), (("debug",), ["api", "lens"]), (("tools",), ["api", "lens", "shell"])],
)
@proves("TMPL-020")
def test_profiles_choose_services(desk: Desk, chosen: tuple[str, ...], names: list[str]) -> None:
    spec = desk.spec(PROFILES, profiles=chosen)

    assert ([service.name for service in spec.services], spec.profiles) == (names, chosen)
    assert all(service.profiles in ((), ("tools",), ("debug", "tools")) for service in spec.services)


@proves("TMPL-020")
def test_an_unknown_profile_names_the_nearest(desk: Desk) -> None:
    with pytest.raises(UsageError, match="unknown profile 'tool'") as caught:
        desk.spec(PROFILES, profiles=("tool",))

    assert caught.value.hint == "Did you mean 'tools'?"


@proves("TMPL-020")
def test_needing_what_is_left_out_names_the_profile(desk: Desk) -> None:
    text = PROFILES + "  web: {command: x, profiles: [web], depends_on: [shell]}\n"

    assert desk.findings(text) == [
        "8:51: warning: with profile 'web' only: services.web depends on shell, which is only in profile tools"
    ]
    assert [s.name for s in desk.spec(text, profiles=("web", "tools")).services][-1] == "web"
    with pytest.raises(ConfigError, match=r"8:51: services\.web depends on shell, which is only in profile"):
        desk.spec(text, profiles=("web",))


@proves("TMPL-020")
def test_a_port_of_what_is_left_out_is_told(desk: Desk) -> None:
    text = PROFILES + "  web: {command: 'x ${services.lens.ports.http}'}\n"

    assert desk.findings(text) == [
        "8:18: services.web.command: ${services.lens.ports.http} belongs to lens, which is only in profiles debug, tools"
    ]


@proves("TMPL-021")
def test_a_spec_names_every_file_it_was_made_from(desk: Desk) -> None:
    base = desk.write(HEAD + "env_file: [.env]\n", "base.yaml")
    for name in (".env", "web.env", "prompt.md"):
        (desk.repo / name).write_text("A=b\n", encoding="utf-8")

    spec = desk.spec(
        HEAD
        + "extends: base\nagent: {prompt_file: prompt.md}\nservices: {a: {command: x, env_file: web.env}}\n"
    )

    files = [str(desk.repo / name) for name in (".env", "web.env", "prompt.md")]
    assert spec.files == (str(base.with_name("t.yaml")), str(base), *files)


SERVICE = WHOLE + "services:\n  a:\n    command: x\n"
TASK = SERVICE + "    kind: task\n"

CASES = {
    "eleven replicas": (SERVICE + "    replicas: 11\n", "6:15: services.a.replicas: must be at most 10"),
    "no replicas": (SERVICE + "    replicas: 0\n", "6:15: services.a.replicas: must be at least 1"),
    "replicas of a task": (TASK + "    replicas: 2\n", "7:5: services.a is a task: it has no 'replicas'"),
    "replicas of a shared service": (
        SERVICE + "    scope: shared\n    replicas: 2\n",
        "7:5: services.a is shared: it has one instance for all",
    ),
    "shared and waiting": (
        SERVICE + "    scope: shared\n    depends_on: [b]\n  b: {command: x}\n",
        "7:5: services.a is shared: it cannot wait for what is an agent's own",
    ),
    "shared and of one agent": (
        SERVICE + "    scope: shared\n    env: {NAME: 'x ${agent.slug}'}\n",
        "7:17: services.a.env.NAME: services.a is one for all agents, ${agent.slug} is different for each",
    ),
    "shared task": (TASK + "    scope: shared\n", "7:5: services.a is a task: it has no 'scope'"),
    "tenant of its own": (
        SERVICE + "    tenant: {create: x}\n",
        "6:5: services.a: 'tenant' goes with `scope: shared`",
    ),
    "restart of a task": (TASK + "    restart: always\n", "7:5: services.a is a task: it has no 'restart'"),
    "restart word": (SERVICE + "    restart: no\n", "6:14: services.a.restart.policy: 'no' is not one of"),
    "rate": (
        SERVICE + "    restart: {budget: 5}\n",
        "6:23: services.a.restart.budget: '5' is not a rate such as 5/10m",
    ),
    "run_when of a process": (
        SERVICE + "    run_when: {changed: a}\n",
        "6:5: services.a is no task: it has no 'run_when'",
    ),
    "watch without paths": (
        SERVICE + "    watch: {action: restart}\n",
        "6:5: services.a.watch[0] needs 'paths'",
    ),
    "watch outside": (
        SERVICE + "    watch: [../x]\n",
        "6:13: services.a.watch[0].paths[0]: '../x' leads out",
    ),
    "exec without command": (
        SERVICE + "    on_env_change: exec\n",
        "6:20: services.a.on_env_change: `action: exec` needs 'command'",
    ),
    "recreate a process": (
        SERVICE + "    on_env_change: recreate\n",
        "6:20: services.a.on_env_change: only a container can be made anew",
    ),
    "log without log": (
        SERVICE + "    ready: {exec: x}\n  b: {command: x, depends_on: {a: log}}\n",
        "7:32: services.b waits for a line in the log of a, but its 'ready' looks at none",
    ),
    "profile of nobody": (SERVICE + "profiles: {p: [a, b]}\n", "6:19: profile 'p' names unknown service 'b'"),
    "agent needs a profile": (
        HEAD + "agent: {depends_on: [a]}\nservices: {a: {command: x, profiles: [p]}}\n",
        "2:22: agent depends on a, which is only in profile p",
    ),
    "disabled": (
        HEAD + "agent: {depends_on: [a]}\nservices: {a: {command: x, disabled: true}}\n",
        "2:22: agent depends on a, which is disabled",
    ),
}


@pytest.mark.parametrize("name", CASES)
@proves("TMPL-001")
def test_a_mistake_about_running_is_told_with_its_place(desk: Desk, name: str) -> None:
    text, start = CASES[name]

    findings = desk.findings(text)

    assert [finding[: len(start)] for finding in findings] == [start]


def test_words_that_begin_with_x_are_kept_where_all_words_are_allowed(desk: Desk) -> None:
    text = "services: {a: {image: x, labels: {x-a: b}, x-mine: 1}}\n"

    container = desk.spec(WHOLE + text).services[0].container

    assert container is not None
    assert container.labels == {"x-a": "b"}
