"""Plans for containers: made anew where the engine cannot change them, and never parted from their data unasked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.model.ids import LABEL_AGENT, volume_name
from tests.support.docker import BASE, REDIS, engine, existing
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.wait import eventually

SHOP = f"""\
envmgr: 1
name: NAME
services:
  store:
    image: {REDIS}
    ports: {{tcp: {{container: 6379}}}}
    ready: {{exec: [redis-cli, ping], inside: true}}
    volumes: ['data:/data']
    exports: {{STORE: 'redis://127.0.0.1:${{ports.tcp}}/0'}}
  beside:
    image: {BASE}
    command: [sleep, '1000']
    stop: {{signal: SIGKILL}}
  user:
    command: exec sleep 1001
    depends_on: {{store: {{condition: ready, restart: true}}}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str) -> str:
    """An agent of its own for a test; returns its template."""
    text = SHOP.replace("NAME", name)
    here.template(name, text)
    here.ok("spawn", "-t", name, "--name", name)
    return text


def container(here: Host, agent: str, unit: str) -> str:
    """Id of a unit's container, straight from the engine."""
    found: str = engine().containers.get(f"envmgr-{here.agent(agent)['id']}-g1-{unit}").id
    return found


def redis(here: Host, agent: str, *words: str) -> str:
    """Ask the real Redis."""
    done = engine().containers.get(container(here, agent, "store")).exec_run(["redis-cli", *words])
    return str(done.output.decode().strip())


@proves("RELOAD-012", "RELOAD-004")
def test_a_changed_container_is_made_anew_on_its_data_and_others_stay(shared: Host) -> None:
    text = spawned(shared, "anew")
    assert redis(shared, "anew", "SET", "key", "kept") == "OK"
    assert redis(shared, "anew", "SAVE") == "OK"
    store, beside = container(shared, "anew", "store"), container(shared, "anew", "beside")
    port = shared.agent("anew")["services"][0]["ports"]["tcp"]
    shared.template("anew", text.replace("    volumes:", "    env: {MODE: new}\n    volumes:"))

    plan = shared.ok("plan", "anew", "--json").json
    steps = {s["unit"]: s["done"] for s in shared.ok("apply", "anew", "--json").json["steps"]}

    assert [(u["unit"], u["impact"], u["because"]) for u in plan["units"]] == [
        ("store", "recreate", ""),
        ("user", "restart", "restarts with store"),
    ]
    assert steps == {"store": "recreated", "user": "restarted"}
    assert container(shared, "anew", "store") != store
    assert container(shared, "anew", "beside") == beside
    assert redis(shared, "anew", "GET", "key") == "kept"
    assert shared.agent("anew")["services"][0]["ports"]["tcp"] == port
    assert shared.ok("drift", "anew").out == "no drift\n"


@proves("RELOAD-004")
def test_changed_volume_asks_before_recreation(shared: Host) -> None:
    text = spawned(shared, "volume")
    assert redis(shared, "volume", "SET", "key", "kept") == "OK"
    assert redis(shared, "volume", "SAVE") == "OK"
    store = container(shared, "volume", "store")
    shared.template("volume", text.replace("data:/data", "other:/data"))

    refused = shared.run("apply", "volume")

    assert refused.code == 5
    assert "store uses volume other instead of data at /data" in refused.err
    assert "envmgr apply volume --yes" in refused.err
    assert container(shared, "volume", "store") == store
    shared.ok("apply", "volume", "--yes")
    assert redis(shared, "volume", "GET", "key") == ""
    shared.template("volume", text)
    shared.ok("apply", "volume", "--yes")
    assert redis(shared, "volume", "GET", "key") == "kept"


@proves("RELOAD-013")
def test_an_image_that_is_not_there_is_missed_before_anything_is_stopped(shared: Host) -> None:
    text = spawned(shared, "noimage")
    before = container(shared, "noimage", "store")
    shared.template("noimage", text.replace(f"image: {REDIS}", "image: envmgr-test/no-such\n    pull: never"))

    ran = shared.run("apply", "noimage")

    assert ran.code == 3
    assert "no-such" in ran.err
    assert container(shared, "noimage", "store") == before
    assert redis(shared, "noimage", "PING") == "PONG"
    assert shared.ok("plan", "noimage", "--json").json["units"] != []


@proves("RELOAD-001")
def test_files_an_image_is_built_by_are_a_part_of_the_plan() -> None:
    with host() as here:
        here.ok("daemon", "start")
        (here.repo / "Dockerfile").write_text(f'FROM {BASE}\nCMD ["sleep", "1000"]\n', encoding="utf-8")
        here.template(
            "built",
            "envmgr: 1\nname: built\nworkspace: {copy: []}\nservices:\n  box:\n    build: {context: .}\n"
            "    stop: {signal: SIGKILL}\nagent: {kind: command, command: [sleep, '1000']}\n",
        )
        git(here.repo, "add", "-A")
        git(here.repo, "commit", "-q", "-m", "a Dockerfile")
        here.ok("spawn", "-t", "built", "--name", "built")
        before = container(here, "built", "box")
        eventually(lambda: here.ok("plan", "built").out == "built: no difference\n", within_s=10)
        worktree = here.agent("built")["worktree"]
        with (Path(worktree) / "Dockerfile").open("a", encoding="utf-8") as file:
            file.write("ENV STAGE=two\n")

        (unit,) = here.ok("plan", "built", "--json").json["units"]
        here.ok("apply", "built")

        assert (unit["impact"], unit["fields"][0]["path"]) == ("recreate", "container.build")
        after = engine().containers.get(container(here, "built", "box"))
        assert after.id != before
        assert "STAGE=two" in after.attrs["Config"]["Env"]
        assert here.ok("plan", "built").out == "built: no difference\n"


@proves("RELOAD-002")
def test_a_container_is_told_by_a_command_that_sees_the_new_values_inside(shared: Host) -> None:
    text = (
        f"envmgr: 1\nname: inside\nenv: {{LOG: info}}\nservices:\n  box:\n    image: {BASE}\n"
        "    command: [sleep, '1000']\n    stop: {signal: SIGKILL}\n"
        "    on_env_change: {action: exec, command: 'echo $LOG > /tmp/log'}\n"
        "agent: {kind: command, command: [sleep, '1000']}\n"
    )
    shared.template("inside", text)
    shared.ok("spawn", "-t", "inside", "--name", "inside")
    before = container(shared, "inside", "box")
    shared.template("inside", text.replace("LOG: info", "LOG: debug"))

    (step,) = shared.ok("apply", "inside", "--json").json["steps"]

    assert (step["unit"], step["done"]) == ("box", "exec")
    assert container(shared, "inside", "box") == before
    said = engine().containers.get(before).exec_run(["cat", "/tmp/log"]).output
    assert said == b"debug\n"


LAST = f"""\
envmgr: 1
name: last
services:
  store:
    image: {BASE}
    command: [sleep, '1000']
    volumes: ['data:/data']
    stop: {{signal: SIGKILL}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@proves("RELOAD-019")
def test_who_gave_up_its_last_container_leaves_nothing_on_the_engine_and_gets_its_data_back() -> None:
    with host() as here:
        here.template("last", LAST)
        here.ok("spawn", "-t", "last", "--name", "last")
        agent = here.agent("last")["id"]
        store = engine().containers.get(container(here, "last", "store"))
        store.exec_run(["sh", "-c", "echo precious > /data/file"])
        here.template("last", LAST[: LAST.index("services:")] + LAST[LAST.index("agent:") :])
        here.ok("apply", "last", "--yes")

        here.ok("stop", "last")
        stopped = existing({LABEL_AGENT: agent})
        here.ok("rm", "last", "--yes")
        removed = existing({LABEL_AGENT: agent})
        here.ok("undo", "last")
        restored = existing({LABEL_AGENT: agent})
        here.template("last", LAST)
        here.ok("apply", "last", "--yes")
        here.ok("start", "last")
        store = engine().containers.get(f"envmgr-{agent}-g{here.agent('last')['generation']}-store")

        assert stopped == restored == [f"volume: {volume_name(agent, 'data')}"]
        assert removed == []
        assert store.exec_run(["cat", "/data/file"]).output == b"precious\n"
        here.ok("rm", "last", "--stop", "--yes")
