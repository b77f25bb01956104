"""Volumes in the real engine: seeded, saved with the worktree, put back, copied for forks; PostgreSQL for the proof."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.model.ids import LABEL_STATE, container_name, volume_name
from tests.support.docker import BASE, POSTGRES, engine, existing, nothing_in_engine
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import kill_daemon

_DATABASE = f"""\
envmgr: 1
services:
  db:
    image: {POSTGRES}
    pull: never
    ports: {{sql: {{container: 5432}}}}
    env: {{POSTGRES_USER: shop, POSTGRES_PASSWORD: shop, POSTGRES_DB: shop}}
    volumes: ["pgdata:/var/lib/postgresql/data"]
    ready: {{exec: [pg_isready, -h, 127.0.0.1, -U, shop, -d, shop], inside: true}}
    stop: {{signal: SIGINT, grace: 20s}}
agent: {{kind: command, command: [sleep, '1000']}}
"""
STORE = f"""\
envmgr: 1
services:
  store:
    image: {BASE}
    pull: never
    command: [sleep, '1000']
    volumes: ["data:/data"]
    stop: {{grace: 1s}}
%s
agent: {{kind: command, command: [sleep, '1000']}}
"""
SEEDED = STORE % "volumes: {data: {seed: %s}}"


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with host() as made, nothing_in_engine({LABEL_STATE: str(made.state)}):
        made.template("database", _DATABASE)
        made.template("plain", STORE % "")
        made.ok("daemon", "start")
        yield made
        for name in made.agents():
            made.ok("rm", name, "--stop", "--yes", "--discard", name)


def spawned(here: Host, name: str, template: str = "plain") -> Path:
    here.ok("spawn", "-t", template, "--name", name)
    return Path(here.agent(name)["worktree"])


def container_of(here: Host, name: str, service: str) -> str:
    agent = here.agent(name)
    return container_name(agent["id"], agent["generation"], service)


def inside(here: Host, name: str, service: str, *argv: str) -> str:
    """Run a command in the agent's container."""
    container = engine().containers.get(container_of(here, name, service))
    code, output = container.exec_run(list(argv), environment={"PGPASSWORD": "shop"})
    assert code == 0, output
    return str(output.decode()).strip()


def sql(here: Host, name: str, text: str) -> str:
    return inside(here, name, "db", "psql", "-h", "127.0.0.1", "-U", "shop", "-d", "shop", "-Atc", text)


def put(here: Host, name: str, text: str) -> None:
    inside(here, name, "store", "sh", "-c", f"echo {text} > /data/file")


def got(here: Host, name: str) -> str:
    return inside(here, name, "store", "cat", "/data/file")


def volumes(here: Host) -> list[str]:
    return [x for x in existing({LABEL_STATE: str(here.state)}) if x.startswith("volume")]


def snapshot_files(here: Host) -> list[Path]:
    return sorted((here.state / "snapshots").rglob("*.tar"))


@proves("DATA-030")
def test_a_database_is_saved_while_it_runs_and_has_its_old_rows_after_a_restore(here: Host) -> None:
    place = spawned(here, "shop", "database")
    sql(here, "shop", "CREATE TABLE t (x text); INSERT INTO t VALUES ('old')")
    (place / "index.html").write_text("old\n")

    saved = here.ok("snapshot", "create", "shop", "before", "--json").json
    goes_on = sql(here, "shop", "INSERT INTO t VALUES ('new'); SELECT count(*) FROM t")
    (place / "index.html").write_text("new\n")
    here.ok("snapshot", "restore", "shop", "before", "--yes", "--restart")

    assert goes_on.splitlines()[-1] == "2"
    assert sql(here, "shop", "SELECT x FROM t") == "old"
    assert (place / "index.html").read_text() == "old\n"
    assert [v["name"] for v in saved["volumes"]] == ["pgdata"]
    agent = here.agent("shop")["id"]
    file = next(file for file in snapshot_files(here) if file.parent.name.startswith(agent))
    assert file.stat().st_size == saved["bytes"]
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    last = here.ok("snapshot", "list", "shop", "--json").json["snapshots"][-1]
    here.ok("snapshot", "restore", "shop", str(last["id"]), "--yes", "--restart")
    assert sql(here, "shop", "SELECT x FROM t ORDER BY x") == "new\nold"


@proves("DATA-031")
def test_forks_of_a_database_begin_alike_and_hold_different_data_afterwards(here: Host) -> None:
    spawned(here, "origin", "database")
    sql(here, "origin", "CREATE TABLE t (x text); INSERT INTO t VALUES ('common')")

    here.ok("fork", "origin", "-n", "2", "--name", "idea")
    for name in ("idea-1", "idea-2"):
        sql(here, name, f"INSERT INTO t VALUES ('{name}')")

    assert sql(here, "origin", "SELECT x FROM t") == "common"
    assert sql(here, "idea-1", "SELECT x FROM t ORDER BY x") == "common\nidea-1"
    assert sql(here, "idea-2", "SELECT x FROM t ORDER BY x") == "common\nidea-2"
    here.ok("stop", "origin", "idea-1", "idea-2")


@proves("DATA-032")
def test_removal_keeps_a_copy_of_volumes_and_undo_brings_it_back(here: Host) -> None:
    spawned(here, "phoenix")
    put(here, "phoenix", "ashes")
    volume = f"volume: {volume_name(here.agent('phoenix')['id'], 'data')}"

    before = volume in volumes(here)
    said = here.ok("rm", "phoenix", "--stop", "--yes").out
    after = volume in volumes(here)
    here.ok("undo", "phoenix")
    here.ok("start", "phoenix")

    assert "files and " in said
    assert " of volumes" in said
    assert (before, after) == (True, False)
    assert got(here, "phoenix") == "ashes"
    here.ok("rm", "phoenix", "--stop", "--yes", "--no-volumes")
    here.ok("undo", "phoenix")
    here.ok("start", "phoenix")
    assert inside(here, "phoenix", "store", "ls", "/data") == ""
    here.ok("rm", "phoenix", "--stop", "--yes")


@proves("DATA-033")
def test_a_seed_script_fills_a_new_volume_once_with_the_worktree_at_hand(here: Host) -> None:
    script = (
        "cp /worktree/index.html file; chown 1234:2345 file; chmod 640 file; echo filled; date +%N > when"
    )
    here.template("seeded", SEEDED % f'{{script: "{script}"}}')

    spawned(here, "seeded", "seeded")
    first = (got(here, "seeded"), inside(here, "seeded", "store", "cat", "/data/when"))
    owner = inside(here, "seeded", "store", "stat", "-c", "%u:%g %a", "/data/file")
    here.ok("stop", "seeded")
    here.ok("start", "seeded")

    assert (first[0], owner) == ("index.html", "1234:2345 640")
    assert (got(here, "seeded"), inside(here, "seeded", "store", "cat", "/data/when")) == first
    # Owners and modes also survive a way through a snapshot, and a fork does not run the script again.
    here.ok("fork", "seeded", "--name", "copy")
    assert inside(here, "copy", "store", "stat", "-c", "%u:%g %a", "/data/file") == owner
    assert inside(here, "copy", "store", "cat", "/data/when") == first[1]
    here.ok("fork", "seeded", "--name", "fresh", "--no-volumes")
    assert inside(here, "fresh", "store", "cat", "/data/when") != first[1]
    here.ok("stop", "seeded", "copy", "fresh")


@proves("DATA-034")
def test_a_seed_from_a_snapshot_fills_the_volumes_of_other_agents(here: Host) -> None:
    spawned(here, "golden")
    put(here, "golden", "gold")
    here.ok("snapshot", "create", "golden", "master")
    put(here, "golden", "brass")
    here.template("from-snapshot", SEEDED % "{snapshot: golden/master}")

    spawned(here, "heir", "from-snapshot")

    assert got(here, "heir") == "gold"
    here.template("from-nothing", SEEDED % "{snapshot: nothing}")
    failed = here.run("spawn", "-t", "from-nothing", "--name", "orphan")
    assert failed.code == 8
    assert "the seed of volume data names snapshot nothing, which does not exist" in failed.err
    here.ok("stop", "golden", "heir")


@proves("DATA-035")
@pytest.mark.parametrize(
    ("seed", "says"),
    [
        ('{script: "echo half > file; echo the dump is broken >&2; exit 3"}', "exited with 3; its last words: the dump is broken"),
        ('{script: "echo half > file; sleep 1000", timeout: 1s}', "did not end within 1 s"),
        ("{script: ls, image: envmgr-test/no-such-image}", "envmgr-test/no-such-image"),
    ],
)  # fmt: skip
def test_a_seed_that_fails_is_told_and_leaves_no_volume_that_looks_filled(
    here: Host, seed: str, says: str
) -> None:
    here.template("failing", SEEDED % seed)

    failed = here.run("spawn", "-t", "failing", "--name", "unlucky")
    agent = here.agent("unlucky")["id"]

    assert failed.code == 8
    assert says in failed.err
    assert f"volume: {volume_name(agent, 'data')}" not in volumes(here)
    assert [x for x in existing({LABEL_STATE: str(here.state)}) if "seed-data" in x] == []
    here.ok("rm", "unlucky", "--yes")


@proves("DATA-037")
def test_containers_go_on_after_a_snapshot_that_fails(here: Host) -> None:
    place = spawned(here, "frozen")
    files = snapshot_files(here)
    (place / "inner").mkdir()
    git(place / "inner", "init", "-q")
    git(place / "inner", "commit", "-q", "--allow-empty", "-m", "x")

    failed = here.run("snapshot", "create", "frozen")

    assert failed.code == 5
    assert "inner is a repository of its own" in failed.err
    assert engine().containers.get(container_of(here, "frozen", "store")).status == "running"
    assert snapshot_files(here) == files
    assert here.ok("snapshot", "list", "frozen", "--json").json["snapshots"] == []
    shutil.rmtree(place / "inner")
    here.ok("stop", "frozen")


@proves("DATA-039")
def test_a_service_that_is_paused_for_its_copy_is_not_taken_for_a_sick_one(here: Host) -> None:
    probe = '    ready: {exec: ["true"], inside: true, period: 100ms, timeout: 1s, down: 1}'
    here.template("probed", (STORE % "").replace("    stop:", f"{probe}\n    stop:"))
    spawned(here, "calm", "probed")
    inside(here, "calm", "store", "sh", "-c", "head -c 300000000 /dev/zero > /data/large")

    here.ok("snapshot", "create", "calm")
    inside(here, "calm", "store", "true")

    events = [e["kind"] for e in here.events() if e["name"] == "calm"]
    assert "snapshot.created" in events
    assert [k for k in events if k in ("service.failed", "agent.drifted")] == []
    (saved,) = here.ok("snapshot", "list", "calm", "--json").json["snapshots"]
    here.ok("snapshot", "rm", str(saved["id"]), "--yes")
    here.ok("stop", "calm")


@proves("DOCK-040")
def test_a_database_that_is_probed_inside_all_the_time_outlives_ten_snapshots_in_a_row(here: Host) -> None:
    here.template("pinged", _DATABASE.replace("inside: true", "inside: true, period: 200ms"))
    spawned(here, "pinged", "pinged")
    box = engine().containers.get(container_of(here, "pinged", "db"))

    for _ in range(10):
        here.ok("snapshot", "create", "pinged")
        assert sql(here, "pinged", "SELECT 1") == "1"

    box.reload()
    assert (box.status, here.agent("pinged")["services"][0]["state"]) == ("running", "ready")
    here.ok("stop", "pinged")


@proves("DATA-038")
def test_a_snapshot_that_does_not_fit_is_refused_with_numbers() -> None:
    with host() as here, nothing_in_engine({LABEL_STATE: str(here.state)}):
        here.template("plain", STORE % "")
        spawned(here, "big")
        inside(here, "big", "store", "sh", "-c", "head -c 3000000 /dev/zero > /data/file")
        kill_daemon(here)
        here.env["ENVMGR_HOST__MIN_FREE_DISK_BYTES"] = str(10**15)

        refused = here.run("snapshot", "create", "big")
        without = here.run("snapshot", "create", "big", "--no-volumes")
        kill_daemon(here)
        del here.env["ENVMGR_HOST__MIN_FREE_DISK_BYTES"]

        assert (refused.code, without.code) == (7, 0)
        assert "the volumes of big need 3 MB" in refused.err
        assert "MB are free where snapshots are kept" in refused.err
        assert snapshot_files(here) == []
        here.ok("rm", "big", "--stop", "--yes")


@proves("DATA-044")
def test_without_the_engine_nothing_that_holds_data_is_lost() -> None:
    with host() as here, nothing_in_engine({LABEL_STATE: str(here.state)}):
        here.template("plain", STORE % "")
        place = spawned(here, "safe")
        put(here, "safe", "precious")
        here.ok("stop", "safe")
        kill_daemon(here)
        here.env["DOCKER_HOST"] = f"unix://{here.state}/nobody.sock"

        removed = here.run("rm", "safe", "--yes")
        saved = here.run("snapshot", "create", "safe")
        without = here.run("snapshot", "create", "safe", "--no-volumes")
        kill_daemon(here)
        del here.env["DOCKER_HOST"]

        assert (removed.code, saved.code, without.code) == (5, 7, 0)
        assert "the container engine" in removed.err
        assert "the container engine" in saved.err
        assert place.exists()
        here.ok("start", "safe")
        assert got(here, "safe") == "precious"
        here.ok("rm", "safe", "--stop", "--yes")
