"""Measures of the recovery ladder as people see them: who is attached, who listens where, and what is left of the work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli_terminal import terminal
from tests.support.docker import REDIS, engine
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.survive import agent_when, answers, is_alive, processes_of, tmux_server
from tests.support.wait import eventually

# Its assistant says which start of it this is. Its service closes its port when told to, and lives on.
DOOR = """
envmgr: 1
recovery: {delays: {session: 100ms, realloc: 100ms, respawn: 200ms}}
services:
  web:
    command: exec python3 door.py $PORT
    ports: [http]
    ready: {http: {port: http, path: /}, period: 200ms}
  user:
    command: exec sleep 1000
    depends_on: [web]
    env: {WEB_URL: "http://127.0.0.1:${services.web.ports.http}"}
agent:
  kind: command
  command: "echo x >> $TMUX_TMPDIR/starts; echo start $(wc -l < $TMUX_TMPDIR/starts) of it; exec sleep 1000"
"""
SCRIPT = """
import http.server, signal, sys, threading, time
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
def close(*_):
    server.socket.close()
signal.signal(signal.SIGUSR1, close)
while True:
    time.sleep(1000)
"""
SQUAT = """
import http.server, socket, sys, time
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
while True:
    try:
        Server(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
    except OSError:
        time.sleep(0.01)
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host(ENVMGR_TMUX__DEADLINE_S="2") as here:
        (here.repo / "door.py").write_text(SCRIPT, encoding="utf-8")
        git(here.repo, "add", "door.py")
        git(here.repo, "commit", "-q", "-m", "door")
        here.template("door", DOOR)
        yield here


@contextmanager
def squatter(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Takes the port as soon as it is free, and answers every question well."""
    with subprocess.Popen(
        [sys.executable, "-c", SQUAT, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


# Any: agents and incidents are JSON.
def service(agent: Any, name: str) -> Any:
    return next(one for one in agent["services"] if one["name"] == name)


def incidents(here: Host, *words: str) -> Any:
    return here.ok("incidents", *words, "--json").json["incidents"]


@proves("ATTACH-003")
def test_who_is_attached_when_the_terminal_server_dies_is_taken_along_to_the_next_one(here: Host) -> None:
    here.ok("spawn", "-t", "door", "--name", "a")
    with terminal(here, "attach", "a") as screen:
        eventually(lambda: "start 1 of it" in screen.text())

        tmux_server(here).kill()

        eventually(lambda: "The terminal session of a is gone" in screen.text())
        eventually(lambda: "start 2 of it" in screen.text(), within_s=30)
        screen.type("C-]")
        eventually(screen.was_left)
    assert here.agent("a")["generation"] == 1


@proves("RUNG-007", "R-32")
def test_a_stranger_who_answers_on_a_services_port_is_left_there_and_the_service_moves(here: Host) -> None:
    here.ok("spawn", "-t", "door", "--name", "a")
    before = here.agent("a")
    old = service(before, "web")["ports"]["http"]
    (web,) = processes_of(here, before, part="service:web")
    with squatter(old) as stranger:
        os.kill(web.pid, signal.SIGUSR1)

        after = agent_when(
            here,
            "a",
            lambda agent: (
                service(agent, "web")["state"] == "ready" and service(agent, "web")["ports"]["http"] != old
            ),
            within_s=60,
        )

        assert stranger.poll() is None
        new = service(after, "web")["ports"]["http"]
        assert answers(new)
        assert (after["generation"], after["worktree"]) == (1, before["worktree"])
        assert here.ok("env", "a", "--json").json["env"]["WEB_HTTP_PORT"] == str(new)
        (incident,) = incidents(here, "a")
        assert incident["failure"] == "port_conflict"
        assert [climb["rung"] for climb in incident["climbs"]] == ["realloc"]


@proves("RESPAWN-001", "R-20")
def test_a_respawn_keeps_files_ports_and_branch_and_starts_all_else_anew(here: Host) -> None:
    here.ok("spawn", "-t", "door", "--name", "a")
    before = here.agent("a")
    tree = Path(before["worktree"])
    (tree / "staged").write_text("1", encoding="utf-8")
    git(tree, "add", "staged")
    (tree / "untracked").write_text("2", encoding="utf-8")
    status = git(tree, "status", "--porcelain")
    pids = {p.pid for p in processes_of(here, before)}

    here.ok("recover", "a", "--from", "respawn")

    after = agent_when(
        here, "a", lambda agent: agent["generation"] == 2 and agent["lifecycle"] == "running", within_s=60
    )
    assert git(tree, "status", "--porcelain") == status
    assert service(after, "web")["ports"] == service(before, "web")["ports"]
    assert (after["branch"], after["worktree"]) == (before["branch"], before["worktree"])
    assert not pids & {p.pid for p in processes_of(here, after)}
    (note,) = here.state.glob(f"agents/{after['id']}/handoff-2.md")
    assert "refs/envmgr/" in note.read_text(encoding="utf-8")


@proves("RESPAWN-004")
@pytest.mark.parametrize(
    "point", ["checkpoint-taken", "rung-respawn-noted", "rung-respawn-prepared", "stop-before-session"]
)
def test_a_respawn_whose_daemon_dies_is_finished_by_the_next_one(here: Host, point: str) -> None:
    here.run("ls", env={"ENVMGR_CRASH_AT": point})
    daemon = here.daemon_pid()
    assert daemon is not None
    here.ok("spawn", "-t", "door", "--name", "a")
    tree = Path(here.agent("a")["worktree"])
    (tree / "untracked").write_text("2", encoding="utf-8")

    here.run("recover", "a", "--from", "respawn")
    eventually(lambda: not is_alive(daemon), within_s=30)

    after = agent_when(
        here, "a", lambda agent: agent["generation"] == 2 and agent["lifecycle"] == "running", within_s=60
    )
    assert (tree / "untracked").read_text(encoding="utf-8") == "2"
    assert service(after, "web")["state"] == "ready"


@proves("RESPAWN-002", "R-4", "R-9")
def test_a_worktree_that_was_deleted_is_noticed_and_made_again_with_what_was_last_saved(here: Host) -> None:
    here.ok("spawn", "-t", "door", "--name", "a")
    tree = Path(here.agent("a")["worktree"])
    (tree / "committed").write_text("1", encoding="utf-8")
    git(tree, "add", "committed")
    git(tree, "commit", "-q", "-m", "work")
    (tree / "untracked").write_text("2", encoding="utf-8")
    here.ok("recover", "a", "--from", "session")  # saves the files first
    agent_when(here, "a", lambda agent: "start 2 of it" in here.ok("logs", "a", "agent").out, within_s=30)

    shutil.rmtree(tree)

    eventually(lambda: [i for i in incidents(here, "a") if i["part"] == "workspace"], within_s=30)
    here.ok("recover", "a", "--from", "respawn")
    agent_when(
        here, "a", lambda agent: agent["generation"] == 2 and agent["lifecycle"] == "running", within_s=60
    )
    assert (tree / "committed").read_text(encoding="utf-8") == "1"
    assert (tree / "untracked").read_text(encoding="utf-8") == "2"


BOXES = f"""
envmgr: 1
volumes: {{data: {{}}}}
services:
  store:
    image: {REDIS}
    ports: {{tcp: {{container: 6379}}}}
    volumes: ["data:/data"]
    ready: {{exec: [redis-cli, ping], inside: true}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@proves("REALLOC-008")
def test_a_container_gets_another_port_and_keeps_its_volume(here: Host) -> None:
    here.template("boxes", BOXES)
    here.ok("spawn", "-t", "boxes", "--name", "a")
    before = here.agent("a")
    old = service(before, "store")["ports"]["tcp"]
    (assistant,) = processes_of(here, before, part="assistant")
    container = f"envmgr-{before['id']}-g1-store"
    assert engine().containers.get(container).exec_run(["redis-cli", "set", "k", "v"]).exit_code == 0
    assert engine().containers.get(container).exec_run(["redis-cli", "save"]).exit_code == 0

    here.ok("recover", "a", "--from", "realloc")

    eventually(lambda: [i for i in incidents(here, "a") if i["climbs"][0]["result"]], within_s=60)
    after = agent_when(here, "a", lambda agent: service(agent, "store")["state"] == "ready")
    assert service(after, "store")["ports"]["tcp"] != old
    assert engine().containers.get(container).exec_run(["redis-cli", "get", "k"]).output == b"v\n"
    assert [p.pid for p in processes_of(here, before, part="assistant")] == [assistant.pid]


STUBBORN = """
envmgr: 1
agent:
  kind: command
  command: "trap '' TERM HUP; echo x >> $TMUX_TMPDIR/starts; while :; do sleep 0.05; done"
  stop: {grace: 3s}
"""


@proves("RUNG-008", "R-29")
def test_a_stop_wins_over_a_measure_under_way(here: Host) -> None:
    here.template("stubborn", STUBBORN)
    here.ok("spawn", "-t", "stubborn", "--name", "a")
    starts = here.state / "agents" / here.agent("a")["id"] / "starts"
    eventually(starts.exists)
    here.ok("recover", "a", "--from", "session")
    eventually(lambda: [c for c in here.agent("a")["conditions"] if c["type"] == "Recovering"])

    here.ok("stop", "a")

    assert here.agent("a")["lifecycle"] == "stopped"
    assert starts.read_text(encoding="utf-8") == "x\n"
    assert incidents(here, "a", "--open") == []
