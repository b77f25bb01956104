"""Broken and hostile files: always an answer with a place, never a crash, never a long wait."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envmgr.config.importers import proposing
from envmgr.config.importers.naming import Names
from envmgr.config.importers.writing import body, scalar
from envmgr.config.nodes import plain
from envmgr.config.yaml_source import read_yaml
from envmgr.errors import ConfigError, EnvmgrError
from tests.support.imports import bring, compose, said
from tests.support.requirements import proves

# Any throughout: whatever a file may hold.

_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
)


@proves("IMP-016")
def test_a_yaml_bomb_is_refused_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()

    with pytest.raises(ConfigError, match="more than 50,000 values"):
        compose(tmp_path, _BOMB + "services: {}\n")
    assert time.monotonic() - begin < 5


@proves("IMP-016")
def test_ten_thousand_services_are_refused_within_seconds(tmp_path: Path) -> None:
    begin = time.monotonic()

    with pytest.raises(ConfigError, match="10,000 services; at most 500|more than 50,000 values"):
        compose(tmp_path, "services:\n" + "".join(f"  s{n}: {{image: x}}\n" for n in range(10_000)))
    assert time.monotonic() - begin < 20


@proves("IMP-016")
def test_five_hundred_services_that_depend_on_each_other_are_imported_within_seconds(tmp_path: Path) -> None:
    lines = [
        f"  s{n}: {{image: x, depends_on: [{f's{n - 1}' if n else ''}], stop_grace_period: 2s}}\n"
        for n in range(500)
    ]
    begin = time.monotonic()

    imported = compose(tmp_path, "services:\n" + "".join(lines))

    assert "services" in imported.tree.items
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    "source", ["../../etc", "/etc", "~/.ssh", "/var/run/docker.sock", "./link/x", "${HOME:-/root}"]
)
@proves("IMP-017")
def test_nothing_outside_of_the_worktree_is_mounted(tmp_path: Path, source: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    text = f"services: {{a: {{image: x, volumes: ['{source}:/inside', {{type: bind, source: '{source}', target: /too}}]}}}}\n"
    imported = compose(tmp_path, text)
    tree: Any = plain(imported.tree)

    assert "volumes" not in tree["services"]["a"]
    assert len(said(imported, "unsupported")) == 2


@pytest.mark.parametrize("said_as", ["../outside", "/etc/passwd", "${X:-../../x}"])
@proves("IMP-017")
def test_files_outside_of_the_repository_are_not_read(tmp_path: Path, said_as: str) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (tmp_path / "outside").write_text("A=1\n")
    imported = compose(
        repo, f"services: {{a: {{image: x, env_file: '{said_as}', build: {{context: '{said_as}'}}}}}}\n"
    )

    assert all(path.is_relative_to(repo) for path in imported.files)
    assert len(said(imported, "unsupported")) == 2


_ODD: tuple[Any, ...] = (
    None,
    1,
    -1.5,
    True,
    "",
    "x",
    "${",
    "${A:-}",
    [],
    ["x"],
    [None],
    [[]],
    {},
    {"x": "y"},
    {"x": None},
    [{}],
)
_KEYS = {
    "compose": (
        *(
            "image",
            "build",
            "command",
            "entrypoint",
            "environment",
            "env_file",
            "ports",
            "expose",
            "networks",
        ),
        *(
            "network_mode",
            "container_name",
            "hostname",
            "links",
            "volumes",
            "tmpfs",
            "configs",
            "secrets",
            "user",
        ),
        *("working_dir", "platform", "init", "read_only", "shm_size", "stop_signal", "stop_grace_period"),
        *("pull_policy", "cap_add", "sysctls", "labels", "extra_hosts", "healthcheck", "restart", "scale"),
        *(
            "mem_limit",
            "cpus",
            "pids_limit",
            "deploy",
            "develop",
            "profiles",
            "depends_on",
            "extends",
            "nonsense",
        ),
    ),
    "devcontainer": (
        *("name", "image", "build", "dockerFile", "context", "dockerComposeFile", "service", "runServices"),
        *("forwardPorts", "portsAttributes", "appPort", "containerEnv", "remoteEnv", "workspaceFolder"),
        *("workspaceMount", "mounts", "runArgs", "remoteUser", "containerUser", "overrideCommand", "init"),
        *("capAdd", "initializeCommand", "onCreateCommand", "postStartCommand", "postAttachCommand"),
        *("features", "customizations", "nonsense"),
    ),
    "process-compose": (
        *("command", "entrypoint", "working_dir", "environment", "env_file", "depends_on", "readiness_probe"),
        *("ready_log_line", "availability", "shutdown", "replicas", "disabled", "is_daemon", "is_foreground"),
        *("namespace", "description", "vars", "disable_env_expansion", "nonsense"),
    ),
}


def _file(format: str, key: str, value: Any) -> tuple[str, str]:  # noqa: A002
    match format:
        case "compose":
            return "compose.yaml", json.dumps({"services": {"a": {"image": "x", key: value}}})
        case "devcontainer":
            return "devcontainer.json", json.dumps({"image": "x", key: value})
    return "process-compose.yaml", json.dumps({"processes": {"a": {"command": "x", key: value}}})


def _nested(key: str, value: Any) -> list[Any]:
    """The value itself, and one level down in the maps and lists that such a key usually has."""
    inner = {
        "healthcheck": ("test", "interval", "retries", "disable"),
        "build": ("context", "dockerfile", "args", "target"),
        "deploy": ("replicas", "resources", "restart_policy"),
        "depends_on": ("a", "b"),
        "readiness_probe": ("http_get", "exec", "period_seconds"),
        "availability": ("restart", "max_restarts"),
        "shutdown": ("command", "signal", "timeout_seconds"),
        "networks": ("default",),
        "portsAttributes": ("3000",),
    }.get(key, ())
    return [value, [value], *({name: value} for name in inner)]


@pytest.mark.parametrize(("format", "key"), [(name, key) for name, keys in _KEYS.items() for key in keys])
@proves("IMP-016")
def test_a_wrong_type_anywhere_is_answered_with_a_line(tmp_path: Path, format: str, key: str) -> None:  # noqa: A002
    for odd in _ODD:
        for value in _nested(key, odd):
            name, text = _file(format, key, value)
            told = _told(tmp_path, name, text)
            assert told is None or f"{name}:1" in told, (value, told)


def _told(repo: Path, name: str, text: str) -> str | None:
    """What a refusal says; None when the file could be imported."""
    try:
        imported = bring(repo, {name: text})
    except EnvmgrError as error:
        return error.message
    proposing.template(imported, name="t", sources=[name], agent=[])
    return None


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(_KEYS["compose"]), _JSON, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@proves("IMP-016")
def test_any_service_is_imported_or_refused(tmp_path: Path, keys: dict[str, Any]) -> None:
    text = json.dumps({"services": {"a": {"image": "x", **keys}}, "volumes": {"v": None}})
    if told := _told(tmp_path, "compose.yaml", text):
        assert "compose.yaml:1" in told
        return
    imported = bring(tmp_path, {"compose.yaml": text})
    lines = "\n".join(body(imported.tree, imported.findings))
    assert plain(read_yaml(lines, "t.yaml")) == plain(imported.tree)


@given(st.text(max_size=30))
@settings(deadline=None)
@proves("IMP-002")
def test_any_text_is_written_so_that_it_is_read_back(text: str) -> None:
    line = f"k: {scalar(text)}\nl: [{scalar(text, in_flow=True)}]\n"

    assert plain(read_yaml(line, "t.yaml")) == {"k": text, "l": [text]}


@given(st.lists(st.text(min_size=1, max_size=50), unique=True, max_size=30))
@proves("IMP-005")
def test_every_name_gets_a_slug_of_its_own(originals: list[str]) -> None:
    names = Names(originals)
    found = [names[original] for original in originals]

    assert len({name.replace("_", "-") for name in found}) == len(originals)
    assert all(len(name) <= 40 for name in found)


@proves("IMP-016")
def test_control_characters_of_a_file_never_reach_the_terminal(tmp_path: Path) -> None:
    imported = compose(tmp_path, 'services: {a: {image: x, "k\\u001b[31m": 1, hostname: "\\u001b[2J"}}\n')

    assert said(imported)
    assert all(line.isprintable() for line in said(imported))
    with pytest.raises(ConfigError) as caught:
        compose(tmp_path, 'services: {a: {image: x, depends_on: ["\\u001b[31m"]}}\n')
    assert caught.value.message.isprintable()


def test_characters_that_json_writes_in_two_halves_are_joined_and_half_ones_refused(tmp_path: Path) -> None:
    tree: Any = plain(
        compose(tmp_path, 'services: {a: {image: x, environment: {A: "\\ud83d\\ude00"}}}\n').tree
    )

    assert tree["services"]["a"]["env"] == {"A": "\U0001f600"}
    with pytest.raises(ConfigError, match="half a character"):
        compose(tmp_path, 'services: {a: {image: x, environment: {A: "\\ud83d"}}}\n')
    with pytest.raises(ConfigError, match="a text with a wrong escape"):
        bring(tmp_path, {"devcontainer.json": '{"image": "\\ud83d"}'})
