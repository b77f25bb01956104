"""Services that the agents of a repository share, from the command line."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

# Says who it is, so that two instances cannot be taken for one.
_SERVER = """\
import http.server, os, pathlib
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
_TEMPLATE = """\
envmgr: 1
services:
  db:
    scope: shared
    command: exec python3 server.py
    ports: [sql]
    ready: {http: /, period: 300ms, down: 1}
    restart: {policy: on-failure, initial: 200ms}
    exports: {DATABASE_URL: "db://127.0.0.1:${ports.sql}/${agent.slug}"}
    tenant: {create: "touch db-${agent.slug}", drop: "rm db-${agent.slug}"}
  api:
    command: 'echo "$DATABASE_URL"; exec sleep 1000'
    depends_on: [db]
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        (made.repo / "server.py").write_text(_SERVER, encoding="utf-8")
        made.template("shop", _TEMPLATE)
        yield made
        assert not [x for x in made.leftovers() if not x.startswith("worktree")] or made.daemon_pid()


def spawn(here: Host, *names: str) -> None:
    for name in names:
        here.ok("spawn", "-t", "shop", "--name", name)


def db(here: Host, agent: str) -> dict[str, object]:
    found: dict[str, object] = next(s for s in here.agent(agent)["services"] if s["name"] == "db")
    return found


def answer(here: Host, agent: str) -> str:
    (url,) = here.ok("url", agent, "db", "--json").json["urls"].values()
    with urllib.request.urlopen(url, timeout=5) as page:
        return str(page.read().decode())


def places(here: Host) -> set[str]:
    return {path.name for path in Path(here.repo).glob("db-*")}


def lives(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


@proves("SHARE-001", "SHARE-002", "SHARE-010", "SHARE-011", "SHARE-014")
def test_agents_share_a_service_until_the_last_one_stops(here: Host) -> None:
    spawn(here, "otter", "heron")
    pid = answer(here, "otter")
    assert pid == answer(here, "heron")
    assert db(here, "otter")["shared_by"] == ["heron", "otter"]
    assert "shared by heron, otter" in here.ok("show", "heron").out
    assert "db (shared)" in here.ok("doctor").out
    assert here.ok("logs", "heron", "api").out.strip().endswith("/heron")
    assert places(here) == {"db-otter", "db-heron"}

    here.ok("stop", "otter")
    assert answer(here, "heron") == pid
    here.ok("rm", "otter", "--yes")
    assert places(here) == {"db-heron"}
    here.ok("stop", "heron")
    assert not lives(pid)
    here.ok("rm", "heron", "--yes")
    assert "its place in db is dropped when that runs again" in str(here.events())
    spawn(here, "vole")
    assert places(here) == {"db-vole"}


@proves("SHARE-006")
def test_it_outlives_the_daemon_and_is_adopted(here: Host) -> None:
    spawn(here, "otter", "heron")
    pid = answer(here, "otter")
    daemon = here.daemon_pid()
    assert daemon is not None
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: not lives(str(daemon)))

    assert answer(here, "otter") == pid
    eventually(lambda: db(here, "heron")["state"] == "ready", within_s=20)
    here.ok("stop", "otter")
    assert answer(here, "heron") == pid
    here.ok("stop", "heron")
    assert not lives(pid)


@proves("SHARE-007")
def test_one_that_is_killed_comes_back_for_all(here: Host) -> None:
    spawn(here, "otter", "heron")
    pid = answer(here, "otter")
    os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: not lives(pid))
    eventually(lambda: {db(here, name)["state"] for name in ("otter", "heron")} == {"ready"}, within_s=20)
    assert answer(here, "otter") == answer(here, "heron") != pid


@proves("SHARE-005")
def test_another_definition_is_refused_and_nothing_is_left_of_that_agent(here: Host) -> None:
    spawn(here, "otter")
    here.template("shop", _TEMPLATE.replace("exec python3", "MODE=fast exec python3"))
    ran = here.run("spawn", "-t", "shop", "--name", "heron")
    assert ran.code == 8
    assert "the shared service db runs for otter by another definition" in ran.err
    assert answer(here, "otter")


@proves("SHARE-018")
def test_a_plan_says_that_others_use_the_shared_service_as_apply_does(here: Host) -> None:
    spawn(here, "otter", "heron")
    here.template("shop", _TEMPLATE.replace("exec python3", "MODE=fast exec python3"))

    planned = here.ok("plan", "otter").out
    applied = here.run("apply", "otter")
    here.ok("stop", "heron")
    alone = here.ok("plan", "otter").out

    assert "apply refuses this now: the shared service db runs for heron by another definition" in planned
    assert "envmgr apply" not in planned
    assert (applied.code, "runs for heron by another definition" in applied.err) == (5, True)
    assert "envmgr apply otter" in alone


@proves("SHARE-019")
def test_rm_says_before_and_after_what_undo_does_not_bring_back(here: Host) -> None:
    spawn(here, "otter", "heron")

    before = here.run("rm", "otter", "--stop")
    after = here.ok("rm", "otter", "--stop", "--yes").out

    assert before.code == 2
    assert "`undo` does not bring back data in shared services: of otter in db" in before.err
    assert "undo otter`; but not its data in the shared db, which is dropped" in after
    assert not (here.repo / "db-otter").exists()


@proves("SHARE-004")
def test_a_shared_service_that_cannot_start_fails_agents_that_come_at_once(here: Host) -> None:
    here.template("shop", _TEMPLATE.replace("exec python3 server.py", "sleep 0.5; echo no disk; exit 3"))
    ran = here.run("spawn", "-t", "shop", "--name", "pair", "--count", "2")
    assert ran.code == 8
    for name in ("pair-1", "pair-2"):
        reason = here.agent(name)["reason"]
        assert "db ended before it was ready with status 3; its last words: no disk" in reason
