"""Bad templates: each tells file, line, column, what is wrong and what to write instead."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from envmgr.errors import ConfigError
from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


SERVICE = HEAD + "agent: {}\nservices:\n  web:\n    command: x\n"

CASES = {
    "unknown key": (SERVICE + "    prot: 1\n", "6:5: unknown key 'prot' in services.web"),
    "unknown key at the top": (WHOLE + "servics: {}\n", "3:1: unknown key 'servics'"),
    "key of a later version": (
        SERVICE + "    on_config_change: none\n",
        "6:5: 'on_config_change' in services.web is not supported by this version yet",
    ),
    "a live probe that stays true for ever": (
        SERVICE + "    live: {any: [{log: x}, {exec: y}]}\n",
        "6:19: services.web.live.any[0]: 'log' stays true for ever",
    ),
    "a live probe that is told once": (
        SERVICE + "    live: {notify: true}\n",
        "6:12: services.web.live: 'notify' stays true for ever",
    ),
    "a live probe of a task": (
        SERVICE + "    kind: task\n    live: {exec: y}\n",
        "7:5: services.web is a task: it has no 'live'",
    ),
    "a startup probe of what envmgr does not start": (
        HEAD + "agent: {}\nservices:\n  web:\n    kind: external\n    startup: {exec: y}\n",
        "6:5: services.web is external: it has no 'startup'",
    ),
    "a live probe of an unknown port": (
        SERVICE + "    ports: [http]\n    live: {http: htp}\n",
        "7:18: services.web.live.http: services.web has no port 'htp'",
    ),
    "resources without a bound": (
        SERVICE + "    live: {resource: {}}\n",
        "6:22: services.web.live.resource: needs 'memory', 'cpus' or 'files'",
    ),
    "two words for liveness": (
        SERVICE + "    live: {exec: a}\n    liveness_probe: {exec: b}\n",
        "7:5: services.web has both 'live' and 'liveness_probe'",
    ),
    "no format": ("agent: {}\n", "1:1: the template does not say its format"),
    "format of the future": ("envmgr: 2\nagent: {}\n", "1:9: envmgr: 2 is a format"),
    "no agent": (HEAD, "1:1: the template has no 'agent'"),
    "not a map": ("- envmgr\n", "1:1: a template is a map of keys"),
    "key twice": (HEAD + "agent: {}\nenv:\n  A: 1\n  A: 2\n", "5:3: key 'A' is given twice"),
    "tab": (HEAD + "\tagent: {}\n", "2:1: not valid YAML"),
    "open bracket": (HEAD + "agent: [\n", "3:1: not valid YAML"),
    "bare reference in braces": (WHOLE + "env: {A: ${B}}\n", "3:11: not valid YAML"),
    "tag": (HEAD + "agent: !!python/name:os.system x\n", "2:8: tag !!python/name:os.system is not allowed"),
    "unknown anchor": (HEAD + "agent: *nobody\n", "2:8: unknown anchor 'nobody'"),
    "two documents": (HEAD + "---\na: 1\n", "2:1: more than one document"),
    "control character": (HEAD + "# \x01\n", "2:3: not valid YAML: a character"),
    "too deep": (HEAD + "x: " + "[" * 60 + "]" * 60, "2:43: nested more than 40 deep"),
    "port 0": (
        SERVICE + "    ports: {http: 0}\n",
        "6:19: services.web.ports.http.prefer: '0' is not a port number",
    ),
    "port 65536": (
        SERVICE + "    ports: {http: {prefer: 65536}}\n",
        "6:28: services.web.ports.http.prefer: '65536' is not",
    ),
    "port abc": (
        SERVICE + "    ports: {http: abc}\n",
        "6:19: services.web.ports.http.prefer: 'abc' is not a port",
    ),
    "pool": (WHOLE + "ports: {range: 9-3}\n", "3:16: ports.range: '9-3' is not a port range"),
    "block": (
        SERVICE + "    ports: [a, b]\nports: {block: 1}\n",
        "7:16: 2 ports are declared, but an agent gets a block of 1",
    ),
    "fixed without number": (
        SERVICE + "    ports: {a: {fixed: true}}\n",
        "6:17: services.web.ports.a: a fixed port needs",
    ),
    "duration without unit": (
        SERVICE + "    stop: {grace: 5}\n",
        "6:19: services.web.stop.grace: 5 has no unit; write 5s",
    ),
    "duration of nothing": (
        SERVICE + "    stop: {grace: soon}\n",
        "6:19: services.web.stop.grace: 'soon' is not a duration",
    ),
    "size": (WHOLE + "limits: {memory: 1XB}\n", "3:18: limits.memory: '1XB' is not a size"),
    "signal": (
        SERVICE + "    stop: {signal: SIGNOPE}\n",
        "6:20: services.web.stop.signal: 'SIGNOPE' is not a signal",
    ),
    "name": (HEAD + "agent: {}\nservices: {'A b': {command: x}}\n", "3:12: services.A b: not a valid name"),
    "no command": (HEAD + "agent: {}\nservices: {a: {}}\n", "3:12: services.a needs 'command'"),
    "empty command": (
        HEAD + "agent: {}\nservices: {a: {command: ''}}\n",
        "3:25: services.a.command: a command is a line",
    ),
    "kind": (SERVICE + "    kind: proces\n", "6:11: services.web.kind: 'proces' is not one of"),
    "cwd outside": (
        SERVICE + "    cwd: ../other\n",
        "6:10: services.web.cwd: '../other' leads out of the worktree",
    ),
    "copy outside": (
        WHOLE + "workspace: {copy: [/etc/passwd]}\n",
        "3:20: workspace.copy[0]: '/etc/passwd' leads out",
    ),
    "unknown dependency": (
        SERVICE + "    depends_on: [db]\n",
        "6:18: services.web depends on unknown service 'db'",
    ),
    "agent's dependency": (
        HEAD + "agent: {depends_on: [db]}\n",
        "2:22: agent depends on unknown service 'db'",
    ),
    "condition": (
        SERVICE + "    depends_on: {web: redy}\n",
        "6:23: services.web.depends_on.web.condition: 'redy' is not",
    ),
    "ready without probe": (
        SERVICE + "  api: {command: x, depends_on: {web: {condition: ready}}}\n",
        "6:34: services.api waits for web to be ready, but web has no 'ready'",
    ),
    "end of a process": (
        SERVICE + "  api: {command: x, depends_on: {web: completed}}\n",
        "6:34: services.api waits for web to end, but web is no task",
    ),
    "probe of unknown port": (
        SERVICE + "    ports: [http]\n    ready: {http: {port: htp}}\n",
        "7:26: services.web.ready.http: services.web has no port 'htp'",
    ),
    "nested probe": (
        SERVICE + "    ports: [http]\n    ready: {any: [{log: up}, {tcp: htp}]}\n",
        "7:36: services.web.ready.any[1].tcp: services.web has no port 'htp'",
    ),
    "probe without port": (SERVICE + "    ready: {tcp: {}}\n", "6:13: services.web.ready.tcp needs 'port'"),
    "two probes": (
        SERVICE + "    ready: {log: a, exec: b}\n",
        "6:12: services.web.ready: needs exactly one of",
    ),
    "no probe": (SERVICE + "    ready: {period: 5s}\n", "6:12: services.web.ready: needs exactly one of"),
    "bad expression": (
        SERVICE + "    ready: {log: '('}\n",
        "6:18: services.web.ready.log: not a regular expression",
    ),
    "task with probe": (
        SERVICE + "    kind: task\n    ready: {log: a}\n",
        "7:5: services.web is a task: it is done, not ready",
    ),
    "timeout of a process": (SERVICE + "    timeout: 5s\n", "6:5: services.web: 'timeout' is for tasks"),
    "external with command": (
        SERVICE + "    kind: external\n",
        "5:5: services.web is external, so it has no command",
    ),
    "both words for ready": (
        SERVICE + "    ready: {log: a}\n    healthcheck: {log: b}\n",
        "7:5: services.web has both 'ready' and 'healthcheck'",
    ),
    "assistant": (HEAD + "agent: {kind: cloud}\n", "2:15: agent.kind: 'cloud' is not an assistant"),
    "two prompts": (
        HEAD + "agent: {prompt: a, prompt_file: b}\n",
        "2:20: agent has both 'prompt' and 'prompt_file'",
    ),
    "secret from nowhere": (
        WHOLE + "secrets: {A: {from: fil}}\n",
        "3:21: secrets.A.from: 'fil' is not one of",
    ),
    "secret without path": (WHOLE + "secrets: {A: file}\n", "3:11: secrets.A needs 'path'"),
    "enum without values": (WHOLE + "params: {a: {type: enum}}\n", "3:20: params.a: an enum needs 'values'"),
    "default of wrong type": (
        WHOLE + "params: {a: {type: int, default: x}}\n",
        "3:34: params.a: default: 'x' is not a whole",
    ),
    "own parent": (
        WHOLE + "extends: ./t.yaml\n",
        "3:10: templates extend each other: .envmgr/templates/t.yaml -> ",
    ),
    "unknown parent": (WHOLE + "extends: nobody\n", "3:10: extends: no template 'nobody'"),
    "unknown param": (
        HEAD + "agent: {args: ['${params.x}']}\n",
        "2:16: agent.args[0]: ${params.x} names nothing",
    ),
    "unknown port": (
        SERVICE + "    env: {A: '${ports.x}'}\n",
        "6:14: services.web.env.A: ${ports.x} names nothing",
    ),
    "port outside its service": (
        HEAD + "agent: {args: ['${ports.x}']}\n",
        "2:16: agent.args[0]: ${ports.x} names nothing",
    ),
    "late reference in a name": (
        WHOLE + "workspace: {branch: 'a/${agent.id}'}\n",
        "3:21: workspace.branch: ${agent.id} is known only at spawn",
    ),
    "open reference": (WHOLE + "env: {A: 'x ${params.'}\n", "3:10: env.A: '${params.' is not a reference"),
    "secret of the environment": (
        WHOLE + "env: {A: '${MY_TOKEN}'}\n",
        "3:10: env.A: ${MY_TOKEN} looks like a secret",
    ),
}


@pytest.mark.parametrize("case", CASES)
@proves("TMPL-001")
def test_a_mistake_is_told_with_its_place(desk: Desk, case: str) -> None:
    text, start = CASES[case]

    findings = desk.findings(text)

    assert len(findings) == 1
    assert findings[0].startswith(start)


def test_a_service_cycle_is_named(desk: Desk) -> None:
    text = (
        HEAD
        + "agent: {}\nservices:\n  a: {command: x, depends_on: [b]}\n  b: {command: x, depends_on: [a]}\n"
    )

    assert desk.findings(text) == ["4:32: services wait for each other: a -> b -> a"]


def test_the_same_fixed_port_twice_is_an_error(desk: Desk) -> None:
    line = "{command: x, ports: {p: {prefer: 8080, fixed: true}}}"

    findings = desk.findings(HEAD + f"agent: {{}}\nservices:\n  a: {line}\n  b: {line}\n")

    assert findings == ["5:39: fixed port 8080 is already taken by services.a.ports.p"]


@proves("TMPL-001")
def test_the_nearest_key_is_suggested(desk: Desk) -> None:
    assert desk.hints(SERVICE + "    port: 1\n") == ["Did you mean 'ports'?"]
    assert desk.hints(SERVICE + "    comand: x\n") == ["Did you mean 'command'?"]


def test_a_reference_that_yaml_takes_for_braces_is_explained(desk: Desk) -> None:
    assert desk.hints(WHOLE + "env: {A: ${B}}\n") == ["Quote values that hold ${...} inside of { } and [ ]."]


@proves("TMPL-002")
def test_all_errors_come_at_once_and_the_message_has_the_first_and_the_count(desk: Desk) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.load(SERVICE + "    prot: 1\n    cwd: /\n    kind: proces\n")

    error = caught.value
    assert (
        error.message
        == ".envmgr/templates/t.yaml:6:5: unknown key 'prot' in services.web (and 2 more errors)"
    )
    assert (error.exit, error.details["line"], error.details["column"]) == (3, 6, 5)
    assert isinstance(error.details["errors"], list)
    assert [entry["path"] for entry in error.details["errors"]] == [
        "services.web.prot",
        "services.web.cwd",
        "services.web.kind",
    ]


def test_an_alias_bomb_is_stopped_at_the_limit(desk: Desk) -> None:
    lines = ["x-a: &a [1,1,1,1,1,1,1,1,1,1]"]
    lines += [
        f"x-{b}: &{b} [{','.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]

    assert "more than 50,000 values" in desk.findings(HEAD + "\n".join(lines))[0]


@proves("TMPL-023")
def test_depth_that_aliases_pile_up_is_stopped_at_the_limit(desk: Desk) -> None:
    deep = "[" * 15 + "{}" + "]" * 15
    lines = ["x-0: &a0 " + deep.format("1")]
    lines += [f"x-{n}: &a{n} " + deep.format(f"*a{n - 1}") for n in range(1, 50)]

    assert desk.findings(HEAD + "\n".join(lines)) == ["4:25: nested more than 40 deep"]


@proves("TMPL-023")
def test_a_nameless_merge_does_not_hide_its_size(desk: Desk) -> None:
    big = "{" + ",".join(f"k{n}: 1" for n in range(1000)) + "}"
    lines = [f"x-{n}: {{<<: {big}}}" for n in range(60)]

    assert desk.findings(HEAD + "\n".join(lines))[0].endswith("more than 50,000 values")


@proves("TMPL-023")
@pytest.mark.parametrize(
    "bomb",
    ["!" * 10**6, "!" + "a" * 10**6, "x: !!" + "a" * 10**6, "- " * 10**5, "{" * 10**5, "? " * 10**5],
)
def test_a_hostile_file_is_refused_at_once(desk: Desk, bomb: str) -> None:
    began = time.perf_counter()

    findings = desk.findings(HEAD + bomb)

    assert len(findings) == 1
    assert len(findings[0]) < 200
    assert time.perf_counter() - began < 5


@proves("TMPL-023")
def test_ten_thousand_services_are_refused_at_once(desk: Desk) -> None:
    lines = [f"  s{n}: {{command: x}}\n" for n in range(10_000)]

    assert desk.findings(WHOLE + "services:\n" + "".join(lines))[0].endswith("more than 50,000 values")
    assert desk.findings(WHOLE + "services:\n" + "".join(lines[:501])) == [
        "4:3: 501 services are more than the 500 one agent can have"
    ]


@proves("TMPL-023")
def test_a_huge_file_is_not_read(desk: Desk) -> None:
    assert desk.findings("#" * (1024 * 1024 + 1))[0].endswith("larger than 1 MiB")


def test_a_file_that_is_not_utf_8_is_told_by_line(desk: Desk) -> None:
    path = desk.write("")
    path.write_bytes(b"envmgr: 1\nname: \xff\n")

    assert [str(problem.mark) for problem in desk.templates.validate(path, desk.repo)] == [
        ".envmgr/templates/t.yaml:2:7"
    ]


TOML = "envmgr = 1\n[agent]\nkind = 'command'\n[services.web]\ncommand = 'x'\n"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (TOML + "prot = 1\n", "6:1: unknown key 'prot' in services.web"),
        (TOML + "ports = {http = {prefer = 0}}\n", "6:9: services.web.ports.http.prefer: '0' is not a port"),
        (TOML + "[services.web.ready]\nlog = '('\n", "7:7: services.web.ready.log: not a regular expression"),
        (TOML + "services.web.x = \n", "6:18: not valid TOML"),
        (TOML + "description = 2020-01-01\n", "6:15: services.web.description: dates have no use here"),
        (TOML + 'description = """\nprot = 1\n"""\nprot = 2\n', "9:1: unknown key 'prot'"),
    ],
)
def test_toml_mistakes_have_places_too(desk: Desk, text: str, start: str) -> None:
    findings = desk.findings(text, "t.toml")

    assert len(findings) == 1
    assert findings[0].startswith(start)


WARNINGS = {
    "other name": (WHOLE + "name: shop\n", "name 'shop' has no effect: the template is found as 't'"),
    "secret in a command": (
        WHOLE + "secrets: {A: env}\nhooks: {on_start: 'login ${secrets.A}'}\n",
        "hooks.on_start: a command line can be seen by every user",
    ),
    "bare variable": (WHOLE + "env: {PATH: $HOME/bin}\n", "env.PATH: '$HOME/bin' is not expanded here"),
    "secret literal": (
        WHOLE + "env: {API_KEY: abc}\n",
        "env.API_KEY looks like a secret written into the file",
    ),
    "fixed port": (
        SERVICE + "    ports: {p: {prefer: 80, fixed: true}}\n",
        "fixed port 80: only one agent can run at a time",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_what_is_probably_not_meant_is_a_warning(desk: Desk, case: str) -> None:
    text, message = WARNINGS[case]

    assert [message in finding and "warning: " in finding for finding in desk.findings(text)] == [True]
    assert len(desk.load(text).warnings) == 1
