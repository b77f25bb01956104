"""Drift: what runs is no longer what was launched, or what the template says. It is told, and nothing is done about it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.docker import BASE, engine
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.wait import eventually

AGENT = "agent: {kind: command, command: [sleep, '1000']}\n"
ONE = (
    "envmgr: 1\nname: NAME\nservices:\n  api:\n    command: exec sleep 1001\n    restart: {policy: never}\n"
    + AGENT
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str, text: str = ONE) -> str:
    """An agent of its own for a test; returns its template."""
    text = text.replace("NAME", name)
    here.template(name, text)
    here.ok("spawn", "-t", name, "--name", name)
    return text


def drifted(here: Host, name: str) -> dict[str, str]:
    """Reason by sort of drift, as the agent's remarks have it."""
    return {c["subject"]: c["reason"] for c in here.agent(name)["conditions"] if c["type"] == "Drifted"}


def looked(here: Host, name: str) -> dict[str, str]:
    """The same, looked for now."""
    found: list[dict[str, Any]] = here.ok("drift", name, "--json").json["drifts"]
    return {one["drift"]: one["reason"] for one in found}


@proves("RELOAD-006", "RELOAD-015")
def test_an_edited_template_is_a_remark_with_the_command_to_run_until_it_is_taken_back(shared: Host) -> None:
    text = spawned(shared, "edited")
    before = shared.agent("edited")["services"]
    shared.template("edited", text.replace("1001", "2001"))

    eventually(lambda: drifted(shared, "edited"), within_s=15)

    assert drifted(shared, "edited") == {"config": "the template says: restart api; see `envmgr plan edited`"}
    told = [check for check in shared.run("doctor", "--json").json["checks"] if check["check"] == "edited"]
    assert [(check["ok"], "envmgr plan edited" in check["found"]) for check in told] == [(True, True)]
    assert "Drifted config: the template says: restart api" in shared.ok("ls").out
    assert shared.agent("edited")["services"] == before
    shared.template("edited", text)
    eventually(lambda: not drifted(shared, "edited"), within_s=15)
    kinds = [e["kind"] for e in shared.events("edited")]
    assert [k for k in kinds if k in ("agent.drifted", "agent.in_line")] == ["agent.drifted", "agent.in_line"]


@proves("RELOAD-005", "RELOAD-015")
def test_a_save_by_renaming_is_seen_and_applying_ends_the_drift_at_once(shared: Host) -> None:
    text = spawned(shared, "renamed")
    template = shared.repo / ".envmgr" / "templates" / "renamed.yaml"
    new = template.with_suffix(".tmp")
    new.write_text(text.replace("1001", "2001"), encoding="utf-8")
    new.replace(template)
    eventually(lambda: drifted(shared, "renamed"), within_s=15)

    shared.ok("apply", "renamed")

    assert drifted(shared, "renamed") == {}


@proves("RELOAD-011")
def test_an_invalid_edit_is_told_with_its_place_and_the_old_configuration_runs_on(shared: Host) -> None:
    text = spawned(shared, "invalid")
    shared.template("invalid", text.replace("command: exec", "comand: exec"))

    eventually(lambda: drifted(shared, "invalid"), within_s=15)

    reason = drifted(shared, "invalid")["config"]
    assert "the template is invalid, what runs goes on" in reason
    assert "invalid.yaml:5:" in reason
    assert "mend the template: `envmgr template validate invalid`" in shared.ok("drift", "invalid").out
    assert [s["state"] for s in shared.agent("invalid")["services"]] == ["ready"]
    shared.template("invalid", text)
    eventually(lambda: not drifted(shared, "invalid"), within_s=15)


@proves("RELOAD-015")
def test_an_env_file_counts_as_much_as_the_template(shared: Host) -> None:
    (shared.repo / "app.env").write_text("LOG=info\n", encoding="utf-8")
    spawned(shared, "envfile", ONE.replace("services:", "env_file: app.env\nservices:"))
    (shared.repo / "app.env").write_text("LOG=debug\n", encoding="utf-8")

    eventually(lambda: drifted(shared, "envfile"), within_s=15)

    assert drifted(shared, "envfile")["config"].startswith("the template says: restart api; see")


@proves("RELOAD-015")
def test_what_touches_nothing_that_runs_is_no_drift(shared: Host) -> None:
    text = spawned(shared, "calm")
    shared.template("calm", text.replace("    command:", "    logs: {keep: 9}\n    command:"))

    assert looked(shared, "calm") == {}
    assert shared.ok("plan", "calm", "--json").json["impact"] == "none"


@proves("RELOAD-015")
def test_an_edit_while_the_daemon_was_down_is_seen_when_it_comes_back() -> None:
    with host() as here:
        here.ok("daemon", "start")
        text = spawned(here, "down")
        here.ok("daemon", "stop")
        here.template("down", text.replace("1001", "2001"))
        here.ok("daemon", "start")

        eventually(lambda: drifted(here, "down"), within_s=15)


@proves("RELOAD-016")
def test_lock_files_tool_versions_and_a_base_that_moved_on_are_told_until_they_are_accepted() -> None:
    with host() as here:
        here.ok("daemon", "start")
        (here.repo / "package-lock.json").write_text("{}\n", encoding="utf-8")
        git(here.repo, "add", "-A")
        git(here.repo, "commit", "-q", "-m", "lock")
        spawned(here, "stale", ONE.replace("services:", "workspace: {base: main}\nservices:"))
        worktree = Path(here.agent("stale")["worktree"])
        assert looked(here, "stale") == {}

        (worktree / "package-lock.json").write_text('{"new": 1}\n', encoding="utf-8")
        (worktree / ".nvmrc").write_text("22\n", encoding="utf-8")
        git(here.repo, "commit", "-q", "--allow-empty", "-m", "two")
        git(here.repo, "commit", "-q", "--allow-empty", "-m", "three")

        assert looked(here, "stale")["environment"] == (
            ".nvmrc appeared since the services were started;"
            " package-lock.json changed since the services were started; main moved on by 2 commits"
        )
        here.ok("apply", "stale")
        git(worktree, "merge", "-q", "main")
        assert looked(here, "stale") == {}


@proves("RELOAD-017")
def test_a_process_that_somebody_killed_is_told_and_nothing_is_started_in_its_place(shared: Host) -> None:
    spawned(shared, "killed")
    agent = shared.agent("killed")["id"]
    (api,) = [p for p in psutil.process_iter(["environ"]) if _is_api(p, agent)]
    os.kill(api.pid, signal.SIGTERM)
    eventually(lambda: not api.is_running(), within_s=5)

    assert looked(shared, "killed") == {"runtime": "api was ended from outside (SIGTERM)"}
    assert "put it right with `envmgr restart killed api`" in shared.ok("drift", "killed").out
    shared.ok("restart", "killed", "api")
    assert looked(shared, "killed") == {}
    assert shared.ok("drift", "killed").out == "no drift\n"


def _is_api(process: psutil.Process, agent: str) -> bool:
    env = process.info["environ"] or {}
    return env.get("ENVMGR_AGENT") == agent and env.get("ENVMGR_PART") == "service:api"


BOXED = f"""\
envmgr: 1
name: boxed
services:
  db:
    image: {BASE}
    command: [sleep, '1000']
    ports: {{sql: {{container: 5432}}}}
    stop: {{signal: SIGKILL}}
    restart: {{policy: never}}
{AGENT}"""


@proves("RELOAD-017")
def test_a_container_that_somebody_paused_renamed_cut_off_stopped_or_removed_is_told() -> None:
    with host() as here:
        here.ok("daemon", "start")
        spawned(here, "boxed", BOXED)
        name = f"envmgr-{here.agent('boxed')['id']}-g1-db"
        box = engine().containers.get(name)
        assert looked(here, "boxed") == {}

        box.pause()
        assert looked(here, "boxed") == {"runtime": "the container of db is paused"}
        box.unpause()

        box.rename(f"{name}-mine")
        assert looked(here, "boxed") == {"runtime": f"the container of db was renamed to {name}-mine"}
        box.rename(name)

        network = engine().networks.get(name.replace("-db", "-default"))
        network.disconnect(box)
        assert "db was taken from the network default" in looked(here, "boxed")["runtime"]
        network.connect(box, aliases=["db"])
        assert looked(here, "boxed") == {}

        box.stop(timeout=0)
        outside = here.run("exec", "boxed", "--service", "db", "--", "true")
        assert outside.code == 5
        assert "the container of db does not run" in outside.err
        assert looked(here, "boxed") == {"runtime": "the container of db was stopped"}
        box.remove()
        assert looked(here, "boxed") == {"runtime": "the container of db was removed"}
        here.ok("restart", "boxed", "db")
        assert looked(here, "boxed") == {}

        engine().containers.get(name).remove(force=True)
        eventually(lambda: [s["state"] for s in here.agent("boxed")["services"]] == ["failed"])
        assert "None" not in here.agent("boxed")["services"][0]["detail"]
