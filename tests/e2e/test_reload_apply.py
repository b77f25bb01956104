"""`envmgr apply` on real processes: what the plan names changes, everything else keeps its process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

AGENT = "agent: {kind: command, command: [sleep, '1000']}\n"
SHOP = """\
envmgr: 1
name: NAME
services:
  db:
    command: exec sleep 1001
    ports: {sql: {}}
    exports: {DB: 'db://127.0.0.1:${ports.sql}/a'}
  api:
    command: exec sleep 1002
    depends_on: {db: {condition: started, restart: true}}
  calm:
    command: exec sleep 1003
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str, text: str = SHOP) -> str:
    """An agent of its own for a test; returns its template."""
    text = text.replace("NAME", name)
    here.template(name, text)
    here.ok("spawn", "-t", name, "--name", name)
    return text


def pids(here: Host, name: str) -> dict[str, int]:
    """Main process of each service, and of the assistant, by what the kernel knows of them."""
    agent = here.agent(name)["id"]
    found: dict[str, int] = {}
    for process in psutil.process_iter():
        try:
            env = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if env.get("ENVMGR_AGENT") == agent and env.get("ENVMGR_INSTANCE"):
            part = env.get("ENVMGR_PART", "")
            found.setdefault(part.removeprefix("service:"), process.pid)
    return found


def environment(pid: int) -> dict[str, str]:
    return psutil.Process(pid).environ()


def applied(here: Host, name: str, *more: str) -> dict[str, str]:
    """What `apply` did to each unit."""
    steps: list[dict[str, Any]] = here.ok("apply", name, "--json", *more).json["steps"]
    return {step["unit"]: step["done"] for step in steps}


@proves("RELOAD-012")
def test_project_update_leaves_untouched_pids_alone(shared: Host) -> None:
    text = spawned(shared, "update")
    before = pids(shared, "update")
    shared.template("update", text.replace("sleep 1002", "sleep 2002"))

    done = applied(shared, "update")

    after = pids(shared, "update")
    assert done == {"api": "restarted"}
    assert psutil.Process(after["api"]).cmdline() == ["sleep", "2002"]
    assert {part for part in before if before[part] == after[part]} == {"db", "calm", "assistant"}
    assert shared.ok("plan", "update").out == "update: no difference\n"
    assert shared.ok("apply", "update").out == "update: no difference\n"


@proves("RELOAD-003")
def test_dependants_follow_as_the_plan_said(shared: Host) -> None:
    text = spawned(shared, "follow")
    before = pids(shared, "follow")
    shared.template("follow", text.replace("/a'", "/b'"))

    assert [(u["unit"], u["impact"]) for u in shared.ok("plan", "follow", "--json").json["units"]] == [
        ("db", "live"),
        ("api", "restart"),
    ]
    assert applied(shared, "follow") == {"api": "restarted"}
    after = pids(shared, "follow")
    assert environment(after["api"])["DB"].endswith("/b")
    assert (after["db"], after["calm"]) == (before["db"], before["calm"])


@proves("RELOAD-012")
def test_live_fields_are_taken_over_and_no_process_is_touched(shared: Host) -> None:
    text = spawned(shared, "live")
    before = pids(shared, "live")
    shared.template(
        "live",
        text.replace(
            "    command: exec sleep 1003",
            "    command: exec sleep 1003\n    ready: {exec: 'test -e ok', period: 100ms, down: 1}",
        ),
    )

    ran = shared.ok("apply", "live")

    assert "no process was touched" in ran.out
    assert pids(shared, "live") == before
    # The new probe is what counts from now on.
    eventually(lambda: any(c["subject"] == "calm" for c in shared.agent("live")["conditions"]), within_s=15)
    (Path(shared.agent("live")["worktree"]) / "ok").touch()
    eventually(lambda: shared.agent("live")["conditions"] == [], within_s=15)


@proves("RELOAD-012")
def test_services_and_ports_come_and_go(shared: Host) -> None:
    text = spawned(shared, "more")
    old_port = shared.agent("more")["services"][0]["ports"]["sql"]
    with_web = text.replace(
        "  calm:\n    command: exec sleep 1003\n",
        "  web:\n    command: exec sleep 1004\n    ports: {http: {}}\n",
    )
    shared.template("more", with_web)

    assert applied(shared, "more") == {"calm": "stopped", "web": "started"}

    services = {s["name"]: s for s in shared.agent("more")["services"]}
    assert set(services) == {"db", "api", "web"}
    assert services["db"]["ports"]["sql"] == old_port
    assert environment(pids(shared, "more")["web"])["PORT"] == str(services["web"]["ports"]["http"])
    assert "calm" not in pids(shared, "more")


@proves("RELOAD-011")
def test_an_invalid_edit_is_refused_and_what_runs_goes_on(shared: Host) -> None:
    text = spawned(shared, "broken")
    before = pids(shared, "broken")
    shared.template("broken", text.replace("sleep 1002", "sleep ${ports.nowhere}"))

    ran = shared.run("apply", "broken")

    assert ran.code == 3
    assert "broken.yaml:9:" in ran.err
    assert pids(shared, "broken") == before
    assert shared.agent("broken")["lifecycle"] == "running"


@proves("RELOAD-013")
def test_only_the_plan_that_was_seen_is_carried_out(shared: Host) -> None:
    text = spawned(shared, "seen")
    before = pids(shared, "seen")
    shared.template("seen", text.replace("sleep 1002", "sleep 2002"))
    plan = shared.ok("plan", "seen", "--json").json["plan"]
    shared.template("seen", text.replace("sleep 1003", "sleep 2003"))

    ran = shared.run("apply", "seen", "--plan", plan)

    assert ran.code == 5
    assert f"not {plan}" in ran.err
    assert pids(shared, "seen") == before
    now = shared.ok("plan", "seen", "--json").json["plan"]
    assert applied(shared, "seen", "--plan", now) == {"calm": "restarted"}


@proves("RELOAD-013")
def test_a_missing_secret_stops_it_before_anything_is_done(shared: Host) -> None:
    text = spawned(shared, "secret")
    before = pids(shared, "secret")
    shared.template("secret", text + "secrets: {KEY: {from: env, name: NO_SUCH_VARIABLE}}\n")

    ran = shared.run("apply", "secret")

    assert ran.code == 3
    assert "KEY" in ran.err
    assert pids(shared, "secret") == before
    assert shared.ok("plan", "secret", "--json").json["units"] != []


@proves("RELOAD-014")
def test_a_part_that_fails_is_named_with_what_was_done_and_what_was_not(shared: Host) -> None:
    text = spawned(shared, "half", SHOP + "recovery: {stabilize: 200ms}\n")
    before = pids(shared, "half")
    shared.template(
        "half", text.replace("sleep 1001", "sleep 2001").replace("exec sleep 1002", "no-such-program")
    )

    ran = shared.run("apply", "half", "--json")

    problem = ran.json["problem"]
    assert (ran.code, problem["code"]) == (8, "apply.failed")
    assert problem["details"]["done"] == {"db": "restarted"}
    assert list(problem["details"]["failed"]) == ["api"]
    assert pids(shared, "half")["calm"] == before["calm"]
    assert any(c["subject"] == "api" for c in shared.agent("half")["conditions"])
    shared.template("half", text)
    shared.ok("apply", "half")
    eventually(lambda: shared.agent("half")["conditions"] == [], within_s=30)


@proves("RELOAD-002")
def test_a_service_is_told_by_a_signal_or_a_command_and_keeps_its_process(shared: Host) -> None:
    text = (
        "envmgr: 1\nname: NAME\nenv: {LOG: info}\nservices:\n"
        "  signalled:\n    command: 'trap \". $ENVMGR_ENV_FILE; echo \\$LOG > signalled\" USR1; while :; do sleep 0.05; done'\n"
        "    on_env_change: {action: signal, signal: SIGUSR1}\n"
        "  commanded:\n    command: exec sleep 1001\n"
        "    on_env_change: {action: exec, command: 'echo $LOG > commanded'}\n"
        "  deaf:\n    command: exec sleep 1002\n    on_env_change: {action: none}\n" + AGENT
    )
    text = spawned(shared, "told", text)
    before = {k: v for k, v in pids(shared, "told").items() if k in ("commanded", "deaf", "assistant")}
    shared.template("told", text.replace("LOG: info", "LOG: debug"))

    assert applied(shared, "told") == {"signalled": "signal", "commanded": "exec"}

    worktree = Path(shared.agent("told")["worktree"])
    eventually(
        lambda: (worktree / "signalled").exists() and (worktree / "signalled").read_text(), within_s=10
    )
    assert (worktree / "signalled").read_text() == "debug\n"
    assert (worktree / "commanded").read_text() == "debug\n"
    after = pids(shared, "told")
    assert {k: after[k] for k in before} == before


@proves("RELOAD-002")
def test_new_panes_and_commands_see_new_values_and_the_assistant_keeps_its_own(shared: Host) -> None:
    text = "envmgr: 1\nname: NAME\nenv: {LOG: info}\n" + AGENT
    text = spawned(shared, "panes", text)
    assistant = pids(shared, "panes")["assistant"]
    shared.template("panes", text.replace("LOG: info", "LOG: debug"))

    told = shared.ok("plan", "panes").out
    shared.ok("apply", "panes")

    assert "The assistant's own process keeps" in told
    assert shared.ok("exec", "panes", "--", "sh", "-c", "echo $LOG").out == "debug\n"
    assert environment(assistant)["LOG"] == "info"
    session = f"em-{shared.agent('panes')['id']}-g1"
    tmux = ["tmux", "-S", str(shared.state / "tmux.sock")]
    subprocess.run(
        [*tmux, "new-window", "-d", "-t", f"={session}:", "-n", "mine"],
        check=True,
        env={**os.environ, "SHELL": "/bin/sh"},
    )
    out = shared.state / "seen"
    subprocess.run(
        [*tmux, "send-keys", "-t", f"={session}:mine", f"echo $LOG $(basename $PWD) > {out}", "Enter"],
        check=True,
    )
    eventually(lambda: out.exists() and out.read_text() == "debug panes\n", within_s=10)


@proves("RELOAD-012")
def test_a_stopped_agent_starts_with_what_was_applied(shared: Host) -> None:
    text = spawned(shared, "later")
    shared.ok("stop", "later")
    shared.template("later", text.replace("sleep 1002", "sleep 2002"))

    assert "it starts with the new configuration" in shared.ok("apply", "later").out
    shared.ok("start", "later")

    assert psutil.Process(pids(shared, "later")["api"]).cmdline() == ["sleep", "2002"]


@proves("RELOAD-018")
def test_what_was_scaled_by_hand_survives_an_apply(shared: Host) -> None:
    text = spawned(
        shared,
        "scaled",
        "envmgr: 1\nname: NAME\nservices:\n  api:\n    command: exec sleep 1001\n    replicas: 2\n"
        "  calm:\n    command: exec sleep 1002\nagent: {kind: command, command: [sleep, '1000']}\n",
    )
    shared.ok("scale", "scaled", "api=3")

    assert shared.ok("plan", "scaled").out == "scaled: no difference\n"
    shared.template("scaled", text.replace("1002", "2002"))
    assert applied(shared, "scaled") == {"calm": "restarted"}
    shared.template("scaled", text.replace("replicas: 2", "replicas: 1"))
    assert applied(shared, "scaled") == {"calm": "restarted", "api-2": "stopped", "api-1": "stopped"}
