"""Keys that few templates need: each reaches the spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.core.keys import typed
from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk

EVERYTHING = (
    HEAD
    + """\
agent: {}
secrets:
  TOKEN: {from: command, command: mint, ttl: 10m}
gc: {after_stop: 24h}
workspace: {cache: node_modules, link: [data, models/*]}
services:
  web:
    command: exec serve
    tty: true
    stdin: true
    stop: {keys: [C-c, q]}
    logs: {quiet: true}
    ports: {http: {listen: true}}
"""
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@proves("TMPL-006")
def test_large_ignored_folders_reach_the_spec(desk: Desk) -> None:
    workspace = desk.spec(EVERYTHING).workspace

    assert workspace.cache == ("node_modules",)
    assert workspace.link == ("data", "models/*")


@proves("TMPL-006")
def test_terminals_and_sockets_reach_the_spec(desk: Desk) -> None:
    (web,) = desk.spec(EVERYTHING).services

    assert (web.tty, web.stdin, web.stop.keys) == (True, True, ("C-c", "q"))
    assert web.logs.quiet
    assert web.ports[0].listen


@proves("TMPL-006")
def test_times_reach_the_spec(desk: Desk) -> None:
    spec = desk.spec(EVERYTHING)

    assert spec.secrets[0].ttl_s == 600.0
    assert spec.retention.after_stop_s == 86400.0


@proves("TMPL-006")
def test_hooks_at_attaching_have_a_minute_unless_they_say(desk: Desk) -> None:
    text = WHOLE + "hooks: {on_attach: [a, {command: b, timeout: 5s}]}\n"

    assert [task.timeout_s for task in desk.spec(text).hooks.on_attach] == [60.0, 5.0]


def test_keys_are_typed_as_tmux_would() -> None:
    assert typed(("C-c", "C-[", "Enter", "q", "quit", "C-")) == "\x03\x1b\rqquitC-"


@proves("TMPL-001")
def test_only_what_commands_give_has_a_time(desk: Desk) -> None:
    found = desk.findings(WHOLE + "secrets: {A: {from: env, ttl: 1h}}\n")

    assert found == ["3:26: secrets.A: 'ttl' goes with `from: command`"]


_SERVICE = WHOLE + "services:\n  a:\n"


@proves("TMPL-001")
@pytest.mark.parametrize(
    ("keys", "finding"),
    [
        ("command: x\n    stop: {keys: C-c}", "6:12: services.a.stop: keys need a terminal"),
        ("image: x\n    tty: true\n    stop: {keys: C-c}", "7:12: services.a is a container: 'keys' is for"),
        ("kind: external\n    stdin: true", "6:5: services.a is external: it has no 'stdin'"),
        ("image: x\n    ports: {p: {listen: true}}", "6:17: services.a.ports.p: 'listen' is for processes"),
        (
            "command: x\n    ports: {p: {listen: true}}\n    ready: {any: [{log: x}, {tcp: p}]}",
            "6:17: services.a.ports.p is open before the service runs: a connection proves nothing",
        ),
    ],
)
def test_what_does_not_go_together_is_told(desk: Desk, keys: str, finding: str) -> None:
    assert finding in "\n".join(desk.findings(f"{_SERVICE}    {keys}\n"))


def test_a_socket_that_answers_by_itself_is_no_finding(desk: Desk) -> None:
    keys = "command: x\n    ports: [p]\n    ready: {tcp: p}\n  b:\n    command: x\n    ports: {p: {listen: true}}"

    assert desk.findings(f"{_SERVICE}    {keys}\n    ready: {{http: {{port: p}}}}\n") == []
