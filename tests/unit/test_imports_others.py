"""devcontainer.json, Procfile and process-compose.yaml: what each thing they say becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envmgr.config.importers.devcontainer.jsonc import read_jsonc
from envmgr.config.nodes import mark_of, plain
from envmgr.errors import ConfigError, UsageError
from envmgr.model.probe import HttpProbe, Liveness, LogProbe
from envmgr.model.service import Condition, RestartWhen, ServiceKind
from tests.support.imports import bring, said, service, spec
from tests.support.requirements import proves

# Any throughout: templates as plain maps.


def dev(repo: Path, **keys: Any) -> Any:
    """The template of a devcontainer.json with these keys."""
    imported = bring(repo, {".devcontainer/devcontainer.json": json.dumps({"image": "x", **keys})})
    spec(repo, imported)  # must be valid
    return plain(imported.tree)


# --- JSON with comments ------------------------------------------------------------------------------------------


def test_comments_and_trailing_commas_are_read_and_places_kept() -> None:
    text = '// one\n{\n  "a": [1, 2.5, -3e2, true, null,], /* two\n*/ "b": {"c\\n\\u00e9": "x",},\n}\n'
    node = read_jsonc(text, "d.json")

    assert plain(node) == {"a": [1, 2.5, -300.0, True, None], "b": {"c\n\u00e9": "x"}}
    assert str(mark_of(node, ("b",))) == "d.json:4:4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "1:2: not valid JSON: a key in double quotes is missing"),
        ('{"a": 1 "b": 2}', "1:9: not valid JSON: a comma or '}' is missing"),
        ('{"a": 1, "a": 2}', "1:10: key 'a' is given twice"),
        ("{a: 1}", "1:2: not valid JSON: a key in double quotes is missing"),
        ('{"a" 1}', "1:6: not valid JSON: a colon is missing after the key"),
        ('{"a": x}', "1:7: not valid JSON: 'x' is no value"),
        ('{"a": "x\n"}', "1:7: not valid JSON: a text that is not closed on its line"),
        ('{"a": "\\x"}', "not valid JSON: a text with a wrong escape"),
        ("{} {}", "1:4: not valid JSON: something follows after the end"),
        ("/* never closed", "not valid JSON: a comment that is not closed"),
        ("[" * 5000, "nested more than 40 deep"),
        ("[" + "1," * 60000 + "]", "more than 50,000 values"),
        ("", "it ends too early"),
    ],
)
@proves("IMP-012")
def test_broken_json_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_jsonc(text, "d.json")

    assert message in caught.value.message


# --- devcontainer.json -------------------------------------------------------------------------------------------


@proves("IMP-013")
def test_the_container_has_the_worktree_and_waits(tmp_path: Path) -> None:
    found = dev(tmp_path, remoteUser="node")["services"]["dev"]

    assert found["volumes"] == [".:/workspaces/${repo.name}"]
    assert found["workdir"] == "/workspaces/${repo.name}"
    assert found["entrypoint"] == ["/bin/sh", "-c"]
    assert found["user"] == "node"


def test_its_own_command_stays_when_it_is_wanted(tmp_path: Path) -> None:
    assert "command" not in dev(tmp_path, overrideCommand=False)["services"]["dev"]


@proves("IMP-013")
def test_life_cycle_commands_become_hooks_that_run_inside(tmp_path: Path) -> None:
    found = dev(
        tmp_path,
        initializeCommand=["make", "init"],
        onCreateCommand="npm ci",
        updateContentCommand=["npm", "run", "build"],
        postCreateCommand={"a": "one $HOME", "b": ["two"]},
        postStartCommand="git config --add safe.directory ${containerWorkspaceFolder}",
        postAttachCommand="echo hello",
    )

    assert found["workspace"] == {"setup": [["make", "init"]]}
    assert [task["command"] for task in found["hooks"]["on_start"]] == [
        "npm ci",
        ["npm", "run", "build"],
        "one $HOME",
        ["two"],
        "git config --add safe.directory /workspaces/${repo.name}",
    ]
    assert {task["inside"] for task in found["hooks"]["on_start"]} == {"dev"}
    assert found["hooks"]["on_attach"] == [{"command": "echo hello", "inside": "dev"}]


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("${localEnv:NAME}", "${NAME:-}"),
        ("${localEnv:NAME:word}", "${NAME:-word}"),
        ("${localWorkspaceFolder}/x", "${workspace.path}/x"),
        ("${localWorkspaceFolderBasename}", "${repo.name}"),
        ("${containerWorkspaceFolder}/$HOME", "/workspaces/${repo.name}/$$HOME"),
        ("${devcontainerId}", "${agent.slug}"),
        ("${localEnv:API_TOKEN}", "${secrets.API_TOKEN}"),
        ("${localEnv:DB_PASSWORD:dev}", "${params.db_password}"),
    ],
)
@proves("IMP-013")
def test_variables_of_a_dev_container_mean_the_same(tmp_path: Path, value: str, becomes: str) -> None:
    imported = bring(
        tmp_path, {".devcontainer.json": json.dumps({"image": "x", "containerEnv": {"V": value}})}
    )
    tree: Any = plain(imported.tree)

    assert tree["services"]["dev"]["env"] == {"V": becomes}


def test_ports_are_named_by_their_labels(tmp_path: Path) -> None:
    attributes = {
        "3000": {"label": "Web", "onAutoForward": "openBrowser"},
        "9000": {"label": "1", "requireLocalPort": True},
    }
    found = dev(tmp_path, forwardPorts=[3000, 9000], portsAttributes=attributes, appPort="8080:5432")

    assert found["services"]["dev"]["ports"] == {
        "web": {"container": 3000, "open": True},
        "p9000": {"container": 9000, "prefer": 9000, "fixed": True},
        "sql": {"container": 5432},
    }


def test_known_arguments_of_docker_run_are_taken_over(tmp_path: Path) -> None:
    args = [
        "--cap-add=SYS_PTRACE",
        "-e",
        "A=${localEnv:B}",
        "--memory=2g",
        "--shm-size",
        "1gb",
        "--init",
        "--rm",
    ]
    args += ["--add-host", "h:1.2.3.4", "-v", "data:/data", "--network=host", "--gpus", "all", "--privileged"]
    imported = bring(tmp_path, {".devcontainer.json": json.dumps({"image": "x", "runArgs": args})})
    tree: Any = plain(imported.tree)
    found = tree["services"]["dev"]

    assert found["cap_add"] == ["SYS_PTRACE"]
    assert found["env"] == {"A": "${B:-}"}
    assert (found["limits"], found["shm_size"], found["init"]) == ({"memory": "2GiB"}, "1GiB", True)
    assert found["extra_hosts"] == {"h": "1.2.3.4"}
    assert "data:/data" in found["volumes"]
    assert [line.partition(": ")[2] for line in said(imported, "unsupported")] == [
        "runArgs: --gpus all: left out",
        "runArgs: --privileged: it runs without the host's powers",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "there is neither 'image', nor 'build', nor 'dockerComposeFile'"),
        ("[]", "a devcontainer.json is an object, not a list"),
        ('{"dockerComposeFile": "x.yaml"}', "there is no file .devcontainer/x.yaml"),
        ('{"dockerComposeFile": "../../x.yaml", "service": "a"}', "lies outside of the repository"),
        ('{"image": "x", "workspaceFolder": "here"}', "must be an absolute path"),
        ('{"image": "x", "postCreateCommand": 3}', "postCreateCommand must be a command"),
        ('{"image": "x", "mounts": ["type=bind"]}', "mounts needs a target"),
        ('{"build": {"dockerfile": "../../Dockerfile"}}', "must lie in the repository"),
    ],
)
@proves("IMP-012")
def test_a_wrong_dev_container_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="devcontainer.json:1:") as caught:
        bring(tmp_path, {".devcontainer/devcontainer.json": text})

    assert message in caught.value.message


# --- Procfile ----------------------------------------------------------------------------------------------------


@proves("IMP-014")
def test_a_procfile_is_one_process_a_line(tmp_path: Path) -> None:
    text = "# what runs\nweb: serve -p $PORT\n\nMy-Worker :  run 'a # b'\nrelease: migrate\n"
    found = spec(tmp_path, bring(tmp_path, {"Procfile": text}))

    assert [(s.name, s.kind, s.command, [p.name for p in s.ports]) for s in found.services] == [
        ("web", "process", "serve -p $PORT", ["http"]),
        ("my-worker", "process", "run 'a # b'", []),
        ("release", "task", "migrate", []),
    ]
    assert [(e.service, e.condition) for e in service(found, "my-worker").depends_on] == [
        ("release", Condition.SUCCEEDED)
    ]


@proves("IMP-014")
def test_secrets_of_its_env_file_stay_there(tmp_path: Path) -> None:
    files = {"Procfile": "web: serve\n", ".env": "API_KEY=s3cret\nMODE=dev\nPORT=1\n"}
    imported = bring(tmp_path, files)
    found = spec(tmp_path, imported)

    assert "s3cret" not in str(found)
    assert [ref.name for ref in found.secrets] == ["API_KEY"]
    assert found.env["MODE"] == "dev"


def test_a_web_process_on_a_port_of_its_own_is_told(tmp_path: Path) -> None:
    imported = bring(tmp_path, {"Procfile": "web: serve --port 3000\n"})

    assert service(spec(tmp_path, imported), "web").ready is None
    assert "it listens on 3000" in said(imported, "changed")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web serve\n", "Procfile:1:1: not a `name: command` line"),
        ("a: b\nweb:\n", "Procfile:2:1: not a `name: command` line"),
        ("a: b\na: c\n", "Procfile:2:1: 'a' is given twice"),
        ("# nothing\n", "no `name: command` line in it"),
    ],
)
@proves("IMP-012")
def test_a_wrong_procfile_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bring(tmp_path, {"Procfile": text})

    assert message in caught.value.message


# --- process-compose.yaml ----------------------------------------------------------------------------------------


def processes(repo: Path, body: str, **files: str) -> Any:
    """The spec of a process-compose.yaml with these processes."""
    return spec(repo, bring(repo, {"process-compose.yaml": f"processes:\n{body}", **files}))


@proves("IMP-015")
def test_processes_keep_their_order_probes_and_endings(tmp_path: Path) -> None:
    found = processes(
        tmp_path,
        """\
  one: {command: "prepare", depends_on: {}}
  two:
    command: ["ignored"]
    entrypoint: [serve, --port, "8080"]
    depends_on: {one: {condition: process_completed_successfully}}
    readiness_probe: {http_get: {port: 8080, path: /up, status_code: 204}, period_seconds: 3, failure_threshold: 9}
    liveness_probe: {http_get: {port: 8080, path: /}, initial_delay_seconds: 7, timeout_seconds: 2, failure_threshold: 5}
    availability: {restart: always, backoff_seconds: 3}
    shutdown: {command: "bye", signal: 2, timeout_seconds: 7}
  three: {command: x, ready_log_line: "up (1)", depends_on: {two: {condition: process_healthy}}}
  four: {command: x, depends_on: {three: {condition: process_log_ready}, one: {condition: process_completed}}}
""",
    )
    two = service(found, "two")

    assert service(found, "one").kind is ServiceKind.TASK
    assert two.command == ("serve", "--port", "${ports.http}")
    assert two.ready is not None
    assert two.ready.probe == HttpProbe(port="http", path="/up", status=(204,))
    assert (two.ready.period_s, two.ready.down) == (3.0, 9)
    assert two.live == Liveness(probe=HttpProbe(port="http", path="/"), grace_s=7.0, timeout_s=2.0, down=5)
    assert two.restart is not None
    assert (two.restart.when, two.restart.initial_s) == (RestartWhen.ALWAYS, 3.0)
    assert (two.stop.command, two.stop.signal, two.stop.grace_s) == ("bye", "SIGINT", 7.0)
    three = service(found, "three").ready
    assert three is not None
    assert three.probe == LogProbe(pattern="up \\(1\\)")
    assert [edge.condition for edge in service(found, "four").depends_on] == [
        Condition.READY,
        Condition.COMPLETED,
    ]


@pytest.mark.parametrize(
    ("command", "becomes"),
    [
        ("echo $$HOME $${X}", "echo $HOME ${X}"),
        ("echo $OWN", "echo ${OWN}"),
        ("echo $HOST", ["bash", "-c", "echo ${HOST:-}"]),
        ("echo {{.WORD}}", "echo blue"),
    ],
)
@proves("IMP-015")
def test_dollars_of_process_compose_are_told_apart(tmp_path: Path, command: str, becomes: Any) -> None:
    text = f"vars: {{WORD: blue}}\nprocesses:\n  a: {{command: '{command}', environment: [OWN=1]}}\n"
    tree: Any = plain(bring(tmp_path, {"process-compose.yaml": text}).tree)

    assert tree["services"]["a"]["command"] == becomes


def test_a_terminal_stays_one(tmp_path: Path) -> None:
    imported = bring(tmp_path, {"process-compose.yaml": "processes: {a: {command: x, is_tty: true}}\n"})

    assert service(spec(tmp_path, imported), "a").tty
    assert imported.findings == ()


def test_a_fixed_port_that_is_nowhere_written_is_told(tmp_path: Path) -> None:
    text = "processes: {a: {command: serve, readiness_probe: {http_get: {port: 9999}}}}\n"
    imported = bring(tmp_path, {"process-compose.yaml": text})

    assert service(spec(tmp_path, imported), "a").ports[0].fixed
    assert "only one agent can run" in said(imported, "changed")[0]


@pytest.mark.parametrize(
    ("line", "severity", "what"),
    [
        ("is_daemon: true", "unsupported", "is_daemon"),
        ("is_elevated: true", "unsupported", "is_elevated"),
        ("schedule: {cron: '* * * * *'}", "unsupported", "schedule"),
        (
            "liveness_probe: {exec: {command: x}, success_threshold: 2}",
            "unsupported",
            "liveness_probe.success_threshold",
        ),
        ("availability: {exit_on_end: true}", "unsupported", "exit_on_end"),
        ("log_location: ./x.log", "dropped", "log_location"),
        ("working_dir: /somewhere", "unsupported", "working_dir"),
        ("comand: x", "unsupported", "did you mean 'command'"),
        ("namespace: x", "changed", "namespace"),
    ],
)
@proves("IMP-011")
def test_what_a_process_loses_is_told_with_its_line(
    tmp_path: Path, line: str, severity: str, what: str
) -> None:
    text = f"processes:\n  a:\n    command: x\n    {line}\n"
    imported = bring(tmp_path, {"process-compose.yaml": text})

    assert [text for text in said(imported, severity) if what in text and text.startswith("4:")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: '0.5'\n", "there are no 'processes' in it"),
        ("processes: {a: {}}\n", "processes.a needs 'command'"),
        ("processes: {a: {command: '{{ if .X }}'}}\n", "cannot be filled in"),
        ("processes: {a: {command: x, depends_on: {b: }}}\n", "there is no process 'b'"),
        ("processes: {a: {command: x, depends_on: {a: {condition: up}}}}\n", "'up' is not a condition"),
        ("processes: {a: {command: x, shutdown: {signal: 999}}}\n", "there is no signal 999"),
        ("processes: {a: {command: x, readiness_probe: {}}}\n", "needs exec.command or http_get"),
        ("processes: {a: {command: x, availability: {restart: perhaps}}}\n", "must be one of"),
    ],
)
@proves("IMP-012")
def test_a_wrong_process_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"process-compose\.yaml:\d+:\d+") as caught:
        bring(tmp_path, {"process-compose.yaml": text})

    assert message in caught.value.message


# --- formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("Procfile.dev", "web: x\n", "procfile"),
        ("stack.yml", "services: {a: {image: x}}\n", "compose"),
        ("stack.yaml", "processes: {a: {command: x}}\n", "process-compose"),
        ("dev.jsonc", '{"image": "x"}', "devcontainer"),
    ],
)
def test_the_format_is_told_by_the_file(tmp_path: Path, name: str, text: str, format: str) -> None:  # noqa: A002
    assert bring(tmp_path, {name: text}).format == format


def test_a_file_of_unknown_format_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its format cannot be told"):
        bring(tmp_path, {"stack.txt": "x"})
    with pytest.raises(UsageError, match="unknown format 'helm'"):
        bring(tmp_path, {"stack.txt": "x"}, format="helm")
