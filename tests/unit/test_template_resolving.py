from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.errors import ConfigError, UsageError
from envmgr.model.probe import (
    AllOf,
    AnyOf,
    ExecProbe,
    HttpProbe,
    Liveness,
    LogProbe,
    ProcessProbe,
    Readiness,
    ResourceProbe,
    Startup,
    TcpProbe,
)
from envmgr.model.service import (
    Condition,
    Dependency,
    LogPolicy,
    PortSpec,
    ProcessLimits,
    RestartPolicy,
    ServiceKind,
    ServiceSpec,
    StopPolicy,
)
from envmgr.model.spec import (
    AgentSpec,
    AssistantSpec,
    Hooks,
    Limits,
    PortsPolicy,
    Retention,
    SecretRef,
    SecretSource,
    TaskCommand,
    WorkspaceSpec,
)
from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    repo = tmp_path / "shop"
    repo.mkdir()
    return Desk(repo)


EVERYTHING = """\
envmgr: 1
params: {model: {default: opus}, port: {type: int, default: 3000}}
env: {APP_ENV: dev, WHERE: "${repo.name}/${agent.slug}"}
secrets: {KEY: env, CERT: {from: file, path: cert.pem}, T: {from: command, command: pass show t}}
workspace:
  base: main
  branch: work/${agent.slug}
  copy: [.env]
  setup: [npm ci, [make, all], {command: x, timeout: 1m}]
  submodules: false
  relative_paths: true
ports: {range: 21000-21999, block: 5, bind: "::1"}
services:
  db: {kind: external, ports: {sql: {number: 5432, env: PGPORT}}, ready: {tcp: sql}}
  migrate: {kind: task, command: [npm, run, migrate], depends_on: [db], timeout: 5m, success_exit_codes: [0, 3]}
  web:
    description: The shop
    command: npm run dev -- --port ${ports.http}
    shell: /bin/bash
    cwd: apps/web
    env: {DB: "127.0.0.1:${services.db.ports.sql}"}
    ports: {http: {prefer: "${params.port}", env: PORT}}
    depends_on: {migrate: service_completed_successfully, db: {required: false, timeout: 10s}}
    ready:
      any:
        - http: {path: /healthz, status: [200], headers: {A: b}, body: ok, scheme: https, host: "::1"}
        - all: [{log: ready}, {exec: curl localhost}]
      period: 5s
      timeout: 1s
      up: 2
      down: 4
      initial: 100ms
      deadline: 1m30s
      owner: false
    startup:
      process: {match: "worker ${ports.http}", count: 2}
      period: 200ms
      timeout: 3s
      up: 3
      initial: 1s
      deadline: 5m
      owner: false
    live:
      all: [{resource: {memory: 1GB, cpus: 1.5, files: 900}}, {process: worker}]
      period: 20s
      timeout: 4s
      down: 6
      grace: 1m
      owner: false
    exports: {WEB: "http://127.0.0.1:${ports.http}"}
    stop: {signal: INT, grace: 2s, command: npm stop}
    logs: {max_size: 1MB, keep: 2}
    limits: {memory: 512MB, nofile: 100, pids: 50, nice: 5}
    critical: false
  off: {command: x, disabled: true}
agent:
  kind: claude
  model: ${params.model}
  args: [--verbose]
  prompt: See ${services.web.ports.http}
  env: {A: b}
  depends_on: {web: process_healthy}
  stop: {keys: [C-c, C-c], signal: HUP, grace: 3s}
  ready: {timeout: 20s}
  permission_mode: plan
hooks: {on_create: a, on_start: [b], pre_stop: [[c, d]], post_stop: {command: e, timeout: 5s}}
limits: {memory: 4GiB, nice: 1}
gc: {worktree: remove-if-clean}
"""


@proves("TMPL-006")
def test_every_key_reaches_the_spec(desk: Desk) -> None:
    spec = desk.spec(EVERYTHING)

    assert replace(spec, services=()) == AgentSpec(
        template="t",
        source=".envmgr/templates/t.yaml",
        repo=str(desk.repo),
        name="Blue Otter",
        params={"model": "opus", "port": 3000},
        env={"APP_ENV": "dev", "WHERE": "shop/blue-otter"},
        secrets=(
            SecretRef(name="KEY", source=SecretSource.ENV, key="KEY"),
            SecretRef(name="CERT", source=SecretSource.FILE, key="cert.pem"),
            SecretRef(name="T", source=SecretSource.COMMAND, key="pass show t"),
        ),
        workspace=WorkspaceSpec(
            base="main",
            branch="work/blue-otter",
            copy=(".env",),
            setup=(
                TaskCommand(command="npm ci"),
                TaskCommand(command=("make", "all")),
                TaskCommand(command="x", timeout_s=60.0),
            ),
            submodules=False,
            relative_paths=True,
        ),
        ports=PortsPolicy(first=21000, last=21999, block=5, bind="::1"),
        assistant=AssistantSpec(
            kind="claude_code",
            model="opus",
            args=("--verbose",),
            prompt="See ${services.web.ports.http}",
            env={"A": "b"},
            depends_on=(Dependency(service="web", condition=Condition.READY),),
            stop=StopPolicy(signal="SIGHUP", grace_s=3.0),
            keys=("C-c", "C-c"),
            ready_s=20.0,
            permission_mode="plan",
        ),
        hooks=Hooks(
            on_create=(TaskCommand(command="a"),),
            on_start=(TaskCommand(command="b"),),
            pre_stop=(TaskCommand(command=("c", "d")),),
            post_stop=(TaskCommand(command="e", timeout_s=5.0),),
        ),
        limits=Limits(memory_bytes=4 * 1024**3, process=ProcessLimits(memory_bytes=4 * 1024**3, nice=1)),
        retention=Retention(worktree="remove-if-clean"),
        files=spec.files,
    )


@proves("TMPL-006")
def test_every_key_of_a_service_reaches_its_spec(desk: Desk) -> None:
    db, migrate, web = desk.spec(EVERYTHING).services

    assert db == ServiceSpec(
        name="db",
        kind=ServiceKind.EXTERNAL,
        ports=(PortSpec(name="sql", number=5432, env="PGPORT"),),
        ready=Readiness(probe=TcpProbe(port="sql")),
    )
    assert migrate == ServiceSpec(
        name="migrate",
        kind=ServiceKind.TASK,
        command=("npm", "run", "migrate"),
        depends_on=(Dependency(service="db", condition=Condition.READY),),
        success_exit_codes=(0, 3),
        timeout_s=300.0,
    )
    assert web == ServiceSpec(
        name="web",
        kind=ServiceKind.PROCESS,
        restart=RestartPolicy(),
        description="The shop",
        command="npm run dev -- --port ${ports.http}",
        shell="/bin/bash",
        cwd="apps/web",
        env={"DB": "127.0.0.1:${services.db.ports.sql}"},
        ports=(PortSpec(name="http", prefer=3000, env="PORT"),),
        depends_on=(
            Dependency(service="migrate", condition=Condition.SUCCEEDED),
            Dependency(service="db", condition=Condition.READY, required=False, timeout_s=10.0),
        ),
        ready=Readiness(
            probe=AnyOf(
                probes=(
                    HttpProbe(
                        port="http",
                        path="/healthz",
                        host="::1",
                        scheme="https",
                        headers={"A": "b"},
                        status=(200,),
                        body="ok",
                    ),
                    AllOf(probes=(LogProbe(pattern="ready"), ExecProbe(command="curl localhost"))),
                )
            ),
            period_s=5.0,
            timeout_s=1.0,
            up=2,
            down=4,
            initial_s=0.1,
            deadline_s=90.0,
            owner=False,
        ),
        startup=Startup(
            probe=ProcessProbe(pattern="worker ${ports.http}", count=2),
            period_s=0.2,
            timeout_s=3.0,
            up=3,
            initial_s=1.0,
            deadline_s=300.0,
            owner=False,
        ),
        live=Liveness(
            probe=AllOf(
                probes=(
                    ResourceProbe(memory_bytes=1_000_000_000, cpus=1.5, open_files=900),
                    ProcessProbe(pattern="worker"),
                )
            ),
            period_s=20.0,
            timeout_s=4.0,
            down=6,
            grace_s=60.0,
            owner=False,
        ),
        exports={"WEB": "http://127.0.0.1:${ports.http}"},
        stop=StopPolicy(signal="SIGINT", grace_s=2.0, command="npm stop"),
        logs=LogPolicy(max_bytes=1_000_000, keep=2),
        limits=ProcessLimits(memory_bytes=512_000_000, nofile=100, pids=50, nice=5),
        critical=False,
    )


@pytest.mark.parametrize(
    ("service", "condition"),
    [
        ("{command: x}", "started"),
        ("{command: x, ready: {log: up}}", "ready"),
        ("{kind: task, command: x}", "succeeded"),
    ],
)
def test_without_a_word_one_waits_for_what_the_service_can_tell(
    desk: Desk, service: str, condition: str
) -> None:
    spec = desk.spec(HEAD + f"services: {{a: {service}}}\nagent: {{depends_on: [a]}}\n")

    assert spec.assistant.depends_on == (Dependency(service="a", condition=Condition(condition)),)


def test_an_optional_edge_to_a_disabled_service_falls_away(desk: Desk) -> None:
    text = HEAD + "services: {a: {command: x, disabled: true}}\nagent: {depends_on: {a: {required: false}}}\n"

    assert desk.spec(text).assistant.depends_on == ()


PARAMS = (
    HEAD
    + """\
params:
  n: {type: int, default: 1}
  s: {pattern: "[a-z]+", default: x}
  e: {type: enum, values: [red, 007], default: red}
  b: {type: bool, default: false}
  f: {type: number, default: 1.5}
  must: {description: What to do}
agent: {args: ["${params.n}", "${params.s}", "${params.e}", "${params.b}", "${params.f}", "${params.must}"]}
"""
)


def test_params_have_types_and_defaults(desk: Desk) -> None:
    spec = desk.spec(PARAMS, params={"n": "-3", "e": "007", "b": "YES", "must": "a $5 ${x.y}"})

    assert spec.params == {"n": -3, "s": "x", "e": "007", "b": True, "f": 1.5, "must": "a $5 ${x.y}"}
    assert spec.assistant.args == ("-3", "x", "007", "true", "1.5", "a $$5 $${x.y}")


@pytest.mark.parametrize(
    ("params", "message", "hint"),
    [
        ({"must": "x", "sss": "1"}, "unknown param 'sss'", "s"),
        ({"must": "x", "mus": "1"}, "unknown param 'mus'", "Did you mean 'must'?"),
        ({}, "param 'must' is missing", "Add --param must=VALUE (What to do)."),
        ({"must": "x", "n": "1.5"}, "param 'n': '1.5' is not a whole number", "Give --param n=VALUE."),
        ({"must": "x", "s": "A"}, "param 's': 'A' does not match [a-z]+", "Give --param s=VALUE."),
        (
            {"must": "x", "e": "7"},
            "param 'e': '7' is not one of red, 007",
            "Give --param e=VALUE with one of red, 007.",
        ),
        ({"must": "x", "b": "ja"}, "param 'b': 'ja' is not true or false", "Give --param b=VALUE."),
        ({"must": "x", "f": "nan"}, "param 'f': 'nan' is not a number", "Give --param f=VALUE."),
        (
            {"must": "\0"},
            "param 'must': must not hold NUL characters",
            "Give --param must=VALUE (What to do).",
        ),
    ],
)
@proves("TMPL-007")
def test_wrong_params_are_told_apart(desk: Desk, params: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        desk.spec(PARAMS, params=params)

    assert caught.value.message == message
    assert hint in caught.value.hint


def test_a_param_is_one_word_inside_a_command_and_the_whole_of_a_bare_one(desk: Desk) -> None:
    text = (
        HEAD
        + "params: {c: {}}\nservices: {a: {command: 'run ${params.c}'}, b: {command: '${params.c}'}}\nagent: {}\n"
    )

    a, b = desk.spec(text, params={"c": "x; rm -rf /"}).services

    assert (a.command, b.command) == ("run 'x; rm -rf /'", "x; rm -rf /")


def test_a_reference_that_a_bare_command_brings_along_must_exist(desk: Desk) -> None:
    text = HEAD + "params: {c: {}}\nservices: {b: {command: '${params.c}', ports: [http]}}\nagent: {}\n"

    assert desk.spec(text, params={"c": "serve ${ports.http}"}).services[0].command == "serve ${ports.http}"
    with pytest.raises(ConfigError, match=r"3:25: services\.b\.command: \$\{ports\.htp\} names nothing"):
        desk.spec(text, params={"c": "serve ${ports.htp}"})


def test_a_param_can_be_a_port_and_is_checked_as_one(desk: Desk) -> None:
    text = HEAD + "params: {p: {}}\nservices: {a: {command: x, ports: {h: '${params.p}'}}}\nagent: {}\n"

    assert desk.spec(text, params={"p": "4000"}).services[0].ports[0].prefer == 4000
    with pytest.raises(ConfigError, match="3:39: .*'http' is not a port number"):
        desk.spec(text, params={"p": "http"})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${HERE}", "$here"),
        ("${NOT:-a default}", "a default"),
        ("${EMPTY:-filled}", "filled"),
        ("${EMPTY}", ""),
        ("$$HERE", "$HERE"),
        ("${env.PATH}", "/bin"),
        ("${env.FIRST}/x", "1/x"),
    ],
)
def test_text_takes_the_persons_variables(desk: Desk, written: str, value: str) -> None:
    env = {"HERE": "$here", "EMPTY": "", "PATH": "/bin"}

    spec = desk.spec(HEAD + f'env: {{FIRST: 1, A: "{written}"}}\nagent: {{}}\n', env=env)

    assert spec.env["A"] == value.replace("$", "$$")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${NOT}", "variable NOT is not set"),
        ("${NOT:?set it to the moon}", "set it to the moon"),
        ("${env.LATER}", "the agent has no variable 'LATER'"),
    ],
)
@proves("TMPL-008")
def test_an_unset_variable_is_an_error_with_its_place(desk: Desk, written: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.spec(WHOLE + f'env: {{A: "{written}", LATER: x}}\n')

    assert caught.value.message.startswith(".envmgr/templates/t.yaml:3:10: env.A: ")
    assert message in caught.value.message


def test_a_variable_can_build_on_the_inherited_one(desk: Desk) -> None:
    spec = desk.spec(WHOLE + 'env: {PATH: "${workspace.path}/bin:${env.PATH}"}\n', env={"PATH": "/usr/$x"})

    assert spec.env["PATH"] == "${workspace.path}/bin:/usr/$$x"


def test_only_the_allowed_part_of_the_environment_is_inherited(desk: Desk) -> None:
    env = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "XDG_CACHE_HOME": "/c",
        "http_proxy": "p",
        "AWS_SECRET_ACCESS_KEY": "s",
        "OTHER": "x",
    }

    assert set(desk.spec(WHOLE, env=env).env) == {"PATH", "LC_ALL", "XDG_CACHE_HOME", "http_proxy"}


@pytest.mark.parametrize(("given", "branch"), [(None, "agent/blue-otter"), ("mine", "mine")])
def test_the_branch_comes_from_the_call_or_the_slug(desk: Desk, given: str | None, branch: str) -> None:
    spec = desk.spec(HEAD + "agent: {args: ['${agent.branch}']}\n", branch=given)

    assert (spec.workspace.branch, spec.assistant.args) == (branch, (branch,))


def test_prompts_of_people_and_files_are_taken_as_they_are(desk: Desk) -> None:
    (desk.repo / "p.md").write_text("costs $5 ${x}", encoding="utf-8")
    text = HEAD + "agent: {prompt_file: p.md}\n"

    assert desk.spec(text).assistant.prompt == "costs $$5 $${x}"
    assert desk.spec(text, prompt="do ${this}").assistant.prompt == "do $${this}"
    with pytest.raises(ConfigError, match=r"gone\.md: prompt file: No such file"):
        desk.spec(HEAD + "agent: {prompt_file: gone.md}\n")


def test_a_command_agent_without_a_command_is_the_persons_shell(desk: Desk) -> None:
    assert desk.spec(WHOLE).assistant.command == 'exec "${SHELL:-/bin/sh}"'


def test_explain_shows_params_that_must_be_given_as_open(desk: Desk) -> None:
    template = desk.load(HEAD + "params: {what: {}}\nagent: {args: ['do ${params.what}']}\n")

    explained = desk.templates.explain(template, repo=desk.repo, params={}, environment={})

    assert "do <what>" in [one.value for one in explained]


def test_explain_names_the_line_of_each_value(desk: Desk) -> None:
    desk.write(HEAD + "services:\n  web: {command: 'x ${params.p}'}\n", "base.yaml")
    template = desk.load(
        HEAD + "extends: base\nparams: {p: {default: 1}, q: {}}\nservices: {web: {cwd: src}}\nagent: {}\n"
    )

    explained = desk.templates.explain(template, repo=desk.repo, params={"q": "2"}, environment={})

    found = {one.path: (one.value, one.origin) for one in explained}
    assert found["services.web.command"] == ("x 1", ".envmgr/templates/base.yaml:3 (extends, params.p)")
    assert found["services.web.cwd"] == ("src", ".envmgr/templates/t.yaml:4")
    assert found["services.web.stop.grace"] == ("10s", "default")
    assert found["workspace.branch"] == ("agent/agent", "default")
    assert found["params.p"] == ("1", ".envmgr/templates/t.yaml:3")
    assert found["params.q"] == ("2", "--param")


@proves("TMPL-025")
def test_explain_says_what_brings_a_line_into_play(desk: Desk) -> None:
    desk.write(HEAD + "services:\n  db: {image: postgres}\n", "base.yaml")
    template = desk.load(
        HEAD
        + "extends: base\nparams: {m: {default: 1GB}}\ndefaults: {stop: {grace: 4s}, restart: always}\n"
        + "services:\n  db: {limits: {memory: '${params.m}'}}\n  t: {kind: task, command: x}\nagent: {}\n"
    )

    explained = desk.templates.explain(template, repo=desk.repo, params={}, environment={})

    found = {one.path: (one.value, one.origin) for one in explained}
    assert found["services.db.image"] == ("postgres", ".envmgr/templates/base.yaml:3 (extends)")
    assert found["services.db.kind"] == ("container", "image")
    assert found["services.db.stop.grace"] == ("4s", ".envmgr/templates/t.yaml:4 (defaults)")
    assert found["services.db.limits.memory"] == ("1GB", ".envmgr/templates/t.yaml:6 (params.m)")
    assert found["services.db.restart.budget"] == ("5/10m", "default")
    assert "services.db.cwd" not in found
    assert "services.t.pull" not in found
    assert found["services.t.timeout"] == ("10m", "default")
