"""`envmgr plan`: an edited template against the agent that runs, with real processes that must not notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves

SHOP = """\
envmgr: 1
name: {name}
env: {{LOG: info}}
services:
  db:
    command: exec sleep 1000
    ports: {{sql: {{}}}}
    exports: {{DB: 'db://127.0.0.1:${{ports.sql}}'}}
  api:
    command: exec sleep 1000
    ports: {{http: {{}}}}
    depends_on: {{db: {{condition: started, restart: true}}}}
  calm:
    command: exec sleep 1000
    on_env_change: {{action: none}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str) -> str:
    """An agent of its own for a test; returns the template to edit."""
    text = SHOP.format(name=name)
    here.template(name, text)
    here.ok("spawn", "-t", name, "--name", name)
    return text


@proves("RELOAD-010")
def test_an_unchanged_template_is_no_difference(shared: Host) -> None:
    spawned(shared, "same")

    ran = shared.ok("plan", "same")

    assert ran.out == "same: no difference\n"
    assert shared.ok("plan", "same", "--json").json["units"] == []


@proves("RELOAD-010", "RELOAD-003")
def test_an_edit_is_told_with_effect_and_who_follows_and_nothing_is_done(shared: Host) -> None:
    text = spawned(shared, "edited")
    before = shared.agent("edited")
    shared.template(
        "edited", text.replace("exec sleep 1000\n    ports: {sql", "exec sleep 2000\n    ports: {sql")
    )

    plan = shared.ok("plan", "edited", "--json").json
    told = shared.ok("plan", "edited").out

    assert [(u["unit"], u["fate"], u["impact"], u["because"]) for u in plan["units"]] == [
        ("db", "changed", "restart", ""),
        ("api", "follows", "restart", "restarts with db"),
    ]
    assert "command  exec sleep 1000 -> exec sleep 2000  (restart)" in told
    assert "~ api: restart (restarts with db)" in told
    assert told.endswith("To do this: envmgr apply edited\n")
    assert shared.agent("edited")["services"] == before["services"]


@proves("RELOAD-002")
def test_a_variable_of_the_template_is_told_for_each_service_that_takes_it(shared: Host) -> None:
    text = spawned(shared, "env")
    shared.template("env", text.replace("LOG: info", "LOG: debug"))

    plan = shared.ok("plan", "env", "--json").json

    assert {u["unit"]: u["impact"] for u in plan["units"]} == {
        "db": "restart",
        "api": "restart",
        "calm": "none",
    }
    assert [(f["path"], f["impact"]) for f in plan["fields"]] == [("env.LOG", "live")]


@proves("RELOAD-011")
def test_an_invalid_edit_is_told_with_its_place_and_changes_nothing(shared: Host) -> None:
    text = spawned(shared, "broken")
    shared.template("broken", text.replace("services:", "servces:"))

    ran = shared.run("plan", "broken")

    assert ran.code == 3
    assert ".envmgr/templates/broken.yaml:4:1" in ran.err
    assert {s["state"] for s in shared.agent("broken")["services"]} == {"ready"}


@proves("RELOAD-010")
def test_the_words_of_the_spawn_count_also_after_a_restart_of_the_daemon() -> None:
    with host() as here:
        here.template(
            "asked",
            "envmgr: 1\nname: asked\nparams: {n: {type: int, default: 1000}}\n"
            "env: {WHO: '${WHO:-nobody}'}\n"
            "agent: {kind: command, command: 'sleep ${params.n}'}\n",
        )
        spawn = [
            "spawn",
            "-t",
            "asked",
            "--name",
            "asked",
            "-p",
            "n=2000",
            "--base",
            "main",
            "--branch",
            "mine",
        ]
        assert here.run(*spawn, env={"WHO": "me"}).code == 0
        here.ok("daemon", "stop")

        assert here.ok("plan", "asked").out == "asked: no difference\n"
        assert here.run("plan", "asked", env={"WHO": "you", "LC_TIME": "C"}).out == "asked: no difference\n"
