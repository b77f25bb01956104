"""Locks as people and agents meet them: on the command line, through a daemon, with real programs that die."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from envmgr.clients.client import Client
from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import kill_daemon
from tests.support.wait import eventually

_SOON_S = 2.0
"""The issue's promise for locks of the dead."""


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    """Agents whose programs sleep; fay is stopped."""
    with host() as here:
        here.sleeper()
        for name in ("ann", "bob", "cyd", "dan", "fay"):
            here.ok("spawn", "--template", "sleeper", "--name", name)
        here.ok("stop", "fay")
        yield here


def program(here: Host, name: str) -> psutil.Process:
    """The assistant of an agent."""
    agent = here.agent(name)["id"]
    (found,) = [
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "sleep" and _environ(process).get("ENVMGR_AGENT") == agent
    ]
    return found


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def by(here: Host, name: str, *args: str) -> Any:
    """What a command of the agent's own says."""
    process = program(here, name)
    key = {"ENVMGR_AGENT_KEY": process.environ()["ENVMGR_AGENT_KEY"]}
    ran = here.run(*args, "--json", cwd=Path(process.cwd()), env=key)
    return ran.json


def locks(here: Host) -> dict[str, str]:
    """Holders by target."""
    return {lock["target"]: lock["holder"] for lock in here.ok("lock", "ls", "--json").json["locks"]}


def waiting(here: Host) -> int:
    return len(here.ok("lock", "ls", "--json").json["waiting"])


def waiter(here: Host, *targets: str) -> subprocess.Popen[str]:
    """A person who waits; returned once the place in the line is taken."""
    before = waiting(here)
    process = here.start("lock", "acquire", *targets, "--wait-s", "50", "--json")
    eventually(lambda: waiting(here) == before + 1)
    return process


@proves("LOCK-030")
def test_people_take_and_give_back(here: Host) -> None:
    taken = here.ok("lock", "acquire", "docs/a.md", "db:users", "--reason", "new columns")
    assert taken.out.startswith("acquired docs/a.md (write, token ")
    again = here.ok("lock", "acquire", "docs/a.md", "--json").json
    assert (again["success"], again["action"], again["file_path"]) == (True, "refreshed", "docs/a.md")

    refused = by(here, "ann", "lock", "acquire", "docs/")
    assert (refused["success"], refused["reason"]) == (False, "locked_by_other")
    assert refused["lock_reason"] == "new columns"
    assert refused["conflicts"][0]["overlap_example"].startswith("docs/a.md")

    why = by(here, "ann", "lock", "why", "docs/*.md")
    assert (why["is_free"], why["is_yours"], why["locks"][0]["target"]) == (False, False, "docs/a.md")
    assert why["wait_command"] == "envmgr lock acquire 'docs/*.md' --wait-s 600"
    own = here.ok("lock", "why", "docs/a.md").out.splitlines()
    assert own[0] == "you hold docs/a.md"
    assert own[1].startswith("  you hold docs/a.md (write) since")
    assert "lock acquire" not in own[-1]
    near = here.ok("lock", "why", "docs/*.md").out.splitlines()
    assert (near[0], near[-1]) == ("docs/*.md is free", "take it: envmgr lock acquire 'docs/*.md'")
    listing = here.ok("lock", "ls").out
    assert listing.splitlines()[0].split() == ["TARGET", "MODE", "HOLDER", "LEFT", "TOKEN", "TASK", "REASON"]
    assert "5m" in listing

    assert (
        here.ok("lock", "release", "docs/a.md", "db:users").out == "released docs/a.md\nreleased db:users\n"
    )
    here.ok("lock", "acquire", "docs/a.md", "--reason", "see postgres://u:l0ckurlpw@h/db")
    assert "l0ckurlpw" not in here.ok("lock", "ls", "--json").out
    here.ok("lock", "release", "docs/a.md")
    missing = here.run("lock", "release", "docs/a.md")
    assert (missing.code, missing.out) == (5, "not released: not held by you: docs/a.md\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ttl-minutes", "0", "a"], "range"),
        (["--ttl-minutes", "481", "a"], "range"),
        (["../a"], "leads out"),
        (["/etc/passwd"], "absolute"),
        (["db:"], "nothing follows"),
        (["  "], "blank"),
        ([], "which lock"),
        (["--mode", "steal", "a"], "mode"),
    ],
)
@proves("LOCK-031")
def test_what_cannot_be_locked_is_refused_with_its_reason(here: Host, words: list[str], says: str) -> None:
    ran = here.run("lock", "acquire", *words)

    assert ran.code == 2
    assert says in ran.err


@proves("LOCK-031")
def test_links_do_not_lead_around_a_lock(here: Host) -> None:
    (here.repo / "way").symlink_to("index.html")
    (here.repo / "out").symlink_to("/etc")
    by(here, "ann", "lock", "acquire", "index.html")

    refused = here.run("lock", "acquire", "way", "--json")

    assert refused.json["conflicts"][0]["target"] == "index.html"
    assert "leads out" in here.run("lock", "acquire", "out/passwd").err
    by(here, "ann", "lock", "release", "index.html")


@proves("LOCK-032")
def test_a_dead_holder_keeps_nothing_for_two_seconds(here: Host) -> None:
    assert by(here, "bob", "lock", "acquire", "src/", "db:orders")["status"] == "granted"
    process = waiter(here, "src/app.py")
    victim = program(here, "bob")

    victim.kill()
    died = time.monotonic()
    out, _ = process.communicate(timeout=20)

    assert json.loads(out)["status"] == "granted"
    assert time.monotonic() - died < _SOON_S
    assert locks(here) == {"src/app.py": _me(here)}
    here.ok("lock", "release", "--all")
    assert [e["data"]["why"] for e in here.events() if e["kind"] == "lock.lost" and e["name"] == "bob"]


@proves("LOCK-032")
def test_a_stop_gives_everything_back(here: Host) -> None:
    by(here, "cyd", "lock", "acquire", "src/")
    here.ok("stop", "cyd")

    assert eventually(lambda: not locks(here), within_s=_SOON_S)


@proves("LOCK-033")
def test_a_restart_of_the_daemon_takes_no_lock_from_who_lives() -> None:
    with host() as own:  # what starts the next daemon is this test
        own.sleeper()
        own.ok("spawn", "--template", "sleeper", "--name", "eve")
        (before,) = by(own, "eve", "lock", "acquire", "src/")["locks"]
        doomed = waiter(own, "src/x.py")

        kill_daemon(own)
        doomed.communicate(timeout=20)

        # A place in the line is part of a request that is being answered, and gone with it.
        assert waiting(own) == 0
        (after,) = by(own, "eve", "lock", "acquire", "src/")["locks"]
        assert after["token"] == before["token"]
        assert locks(own) == {"src": "eve"}


@proves("LOCK-034")
def test_who_stops_waiting_loses_the_place_at_once(here: Host) -> None:
    by(here, "dan", "lock", "acquire", "src/")
    process = waiter(here, "src/y.py")

    process.kill()
    process.communicate(timeout=20)

    assert eventually(lambda: waiting(here) == 0, within_s=_SOON_S)
    by(here, "dan", "lock", "release", "src/")
    assert locks(here) == {}


@proves("LOCK-035")
def test_a_release_names_what_is_not_committed(here: Host) -> None:
    by(here, "dan", "lock", "acquire", "src/", "top.txt")
    worktree = Path(program(here, "dan").cwd())
    (worktree / "src").mkdir()
    for name in ("src/new.py", "elsewhere.py"):
        (worktree / name).write_text("x = 1\n", encoding="utf-8")

    released = by(here, "dan", "lock", "release", "src/")

    assert (released["action"], released["dirty_paths"]) == ("released", ["src/new.py"])
    assert by(here, "dan", "lock", "release", "top.txt")["dirty_paths"] == []


@proves("LOCK-036")
def test_only_people_force_and_the_holder_is_told(here: Host) -> None:
    (held,) = by(here, "dan", "lock", "acquire", "src/")["locks"]

    assert by(here, "ann", "lock", "force", "src/", "--reason", "mine")["problem"]["code"] == "denied"
    assert "why?" in here.run("lock", "force", "src/").err
    here.ok("lock", "force", "src/", "--reason", "release day")

    assert by(here, "dan", "lock", "release", "src/")["reason"] == "lock_not_found_or_not_owner"
    told = [e for e in here.events() if e["kind"] == "lock.forced"][-1]
    assert (told["name"], told["data"]["token"]) == ("dan", held["token"])
    assert told["data"]["why"].endswith(": release day")


@proves("LOCK-036")
def test_a_lock_is_handed_over(here: Host) -> None:
    by(here, "dan", "lock", "acquire", "src/", "--reason", "half done")

    given = by(here, "dan", "lock", "transfer", "src/", "--to-agent", "ann")

    assert given["locks"][0]["holder"] == "ann"
    assert by(here, "dan", "lock", "transfer", "src/", "--to-agent", "fay")["problem"]["code"] == "conflict"
    passed_on = by(here, "ann", "handoff", "write", "half done", "--to-agent", "fay", "--transfer-locks")
    assert passed_on["problem"]["message"] == "fay does not run"
    assert by(here, "ann", "lock", "release", "src/")["success"]


def _me(here: Host) -> str:
    """How the person who runs the tests is called."""
    holder = here.ok("lock", "acquire", "who-am-i", "--json").json["locks"][0]["holder"]
    here.ok("lock", "release", "who-am-i")
    return str(holder)


@proves("LOCK-022")
def test_sixty_four_clients_at_once_take_turns(here: Host) -> None:
    address = f"unix:{here.state / 'daemon.sock'}"
    with Client(address) as owner:
        keys = [owner.key_create(name=f"program-{n}", scopes="locks")["key"] for n in range(64)]
    inside: list[str] = []
    most: list[int] = []

    def work(key: str) -> int:
        with Client(address, key=key) as client:
            answer = client.acquire_lock(targets=["src/hot.py"], repo=str(here.repo), wait_s=50)
            assert answer["status"] == "granted", answer
            inside.append(key)
            most.append(len(inside))
            inside.remove(key)
            client.release_lock(targets=["src/hot.py"], repo=str(here.repo))
            return int(answer["locks"][0]["token"])

    with ThreadPoolExecutor(64) as threads:
        tokens = list(threads.map(work, keys))

    assert len(set(tokens)) == 64
    assert max(most) == 1
    assert locks(here) == {}
    with Client(address) as owner:
        for n in range(64):
            owner.key_revoke(key=f"program-{n}")
