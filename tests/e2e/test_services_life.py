"""Services after their start: logs, hooks, secrets, stop, what remains."""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.untouched import checkout
from tests.support.wait import eventually

_AGENT = "agent: {kind: command, command: [sleep, '1000']}\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str, text: str) -> Path:
    here.template(name, text)
    here.ok("spawn", "-t", name, "--name", name)
    return Path(here.agent(name)["worktree"])


_LOUD = f"""\
envmgr: 1
services:
  loud:
    command: "seq -f 'line %05g of a service that says a lot' 1 2000; echo the end; exec sleep 1000"
    logs: {{max_size: 20KB, keep: 3}}
    ready: {{log: the end}}
{_AGENT}"""


@proves("SVC-E2E-020")
def test_logs_are_rotated_and_read_across_rotations(shared: Host) -> None:
    spawned(shared, "loud", _LOUD)
    files = sorted((shared.state / "agents" / shared.agent("loud")["id"] / "logs").iterdir())

    lines = shared.ok("logs", "loud", "loud", "-l", "1000").out.splitlines()

    assert [file.name for file in files] == ["loud.log", "loud.log.1", "loud.log.2", "loud.log.3"]
    assert all(file.stat().st_size <= 20_000 for file in files)
    assert lines[-1] == "the end"
    assert lines[:-1] == [f"line {n:05} of a service that says a lot" for n in range(2000 - 998, 2001)]


@proves("SVC-E2E-021")
def test_followed_logs_go_on_over_rotations_and_end_with_their_reader(shared: Host) -> None:
    place = spawned(
        shared,
        "drip",
        "envmgr: 1\nservices:\n  drip:\n    logs: {max_size: 5KB, keep: 9}\n"
        "    command: 'while [ ! -e go ]; do sleep 0.02; done; seq -f \"ünï %04g\" 1 2000; exec sleep 1000'\n"
        + _AGENT,
    )
    log = str(shared.state / "agents" / shared.agent("drip")["id"] / "logs" / "drip.log")
    daemon = psutil.Process(shared.daemon_pid())
    reader = shared.start("logs", "drip", "--follow")
    eventually(lambda: log in [f.path for f in daemon.open_files()])

    (place / "go").touch()
    assert reader.stdout is not None
    said = [reader.stdout.readline() for _ in range(2000)]
    reader.terminate()
    reader.communicate(timeout=10)

    assert said == [f"ünï {n:04}\n" for n in range(1, 2001)]
    eventually(lambda: log not in [f.path for f in daemon.open_files()])


@proves("SVC-E2E-021")
def test_a_reader_of_a_silent_log_is_forgotten_when_it_leaves(shared: Host) -> None:
    spawned(shared, "silent", "envmgr: 1\nservices:\n  mute: {command: sleep 1000}\n" + _AGENT)
    log = str(shared.state / "agents" / shared.agent("silent")["id"] / "logs" / "mute.log")
    daemon = psutil.Process(shared.daemon_pid())
    reader = shared.start("logs", "silent", "-f")
    eventually(lambda: log in [f.path for f in daemon.open_files()])

    reader.terminate()
    reader.communicate(timeout=10)

    eventually(lambda: log not in [f.path for f in daemon.open_files()])


_HOOKS = """\
envmgr: 1
services:
  web:
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    ready: {http: /}
    exports: {URL: "http://127.0.0.1:${ports.http}/"}
workspace: {setup: [echo setup >> hooks.log]}
hooks:
  on_create: [echo on_create >> hooks.log]
  on_start:
    - python3 -c "import os, urllib.request; print('on_start', urllib.request.urlopen(os.environ['URL']).status)" >> hooks.log
  pre_stop:
    - kill -0 $(cat agent.pid) && echo pre_stop, agent lives >> hooks.log
  post_stop:
    - kill -0 $(cat agent.pid) 2>/dev/null || echo post_stop, agent is gone >> hooks.log
agent: {kind: command, command: "echo assistant >> hooks.log; echo $$ > agent.pid; exec sleep 1000"}
"""


@proves("SVC-E2E-022")
def test_hooks_run_at_their_moments(shared: Host) -> None:
    place = spawned(shared, "hooks", _HOOKS)
    eventually((place / "agent.pid").exists)
    shared.ok("stop", "hooks")
    shared.ok("start", "hooks")
    eventually(lambda: (place / "hooks.log").read_text().count("assistant") == 2)
    shared.ok("stop", "hooks")

    once = ["setup", "on_create"]
    life = ["on_start 200", "assistant", "pre_stop, agent lives", "post_stop, agent is gone"]
    assert (place / "hooks.log").read_text().splitlines() == [*once, *life, *life]


@proves("TASK-008")
def test_what_set_up_and_hooks_write_is_in_a_log(shared: Host) -> None:
    commands = """\
envmgr: 1
workspace: {setup: ["seq 3000; echo on stderr >&2; printf unfinished"]}
hooks: {on_start: [echo warm], post_stop: [{command: "echo half way; sleep 60", timeout: 1s}]}
"""
    spawned(shared, "talkative", commands + _AGENT)
    shared.ok("stop", "talkative")
    said = shared.ok("logs", "talkative", "hooks", "--lines", "5000").out

    begun, *numbers = said.split("on stderr\n")[0].splitlines()
    assert begun.startswith("# set-up: seq 3000; ")
    assert numbers == [str(number) for number in range(1, 3001)]
    assert re.search(
        r"on stderr\nunfinished\n# set-up: exited with 0 after \d\.\d s\n# on_start: echo warm\n", said
    )
    assert re.search(r"\nwarm\n# on_start: exited with 0 ", said)
    assert re.search(r"half way\n+.* did not end within 1 s.*\n# post-stop hook: exited with 124 ", said)
    assert shared.ok("logs", "talkative").out.endswith(said[-200:])


@proves("SVC-E2E-023")
def test_a_failing_stop_hook_is_told_and_holds_nothing_up(shared: Host) -> None:
    spawned(shared, "stubborn", "envmgr: 1\nhooks: {pre_stop: [echo no way; exit 4]}\n" + _AGENT)

    shared.ok("stop", "stubborn")

    assert shared.agent("stubborn")["lifecycle"] == "stopped"
    notices = [str(e["data"]) for e in shared.events("stubborn") if e["kind"] == "notice"]
    assert any("pre-stop hook" in text and "no way" in text for text in notices)


_SECRETS = """\
envmgr: 1
secrets:
  FROM_ENV: {from: env, name: MY_OWN_TOKEN}
  FROM_FILE: {from: file, path: ../key.txt}
  FROM_COMMAND: {from: command, command: "cat ../key.txt | tr a-z A-Z"}
workspace: {setup: ['test -n "$FROM_ENV" && echo "token $FROM_ENV, key $FROM_COMMAND" >&2']}
services:
  api:
    command: 'echo "env=${#FROM_ENV} file=${#FROM_FILE} command=${#FROM_COMMAND}"; exec sleep 1000'
    env: {AUTH: "Bearer ${secrets.FROM_ENV}"}
    ready: {exec: ["sh", "-c", 'test "$AUTH" = "Bearer $FROM_ENV"']}
agent: {kind: command, command: [sh]}
"""


@proves("SVC-E2E-024", "TASK-008")
def test_secrets_reach_everything_that_runs_and_are_written_nowhere() -> None:
    values = {
        "env": "s3cret-from-env-8f2a",
        "file": "s3cret-from-file-77b1",
        "command": "S3CRET-FROM-FILE-77B1",
    }
    with host(MY_OWN_TOKEN=values["env"]) as here:
        (here.repo.parent / "key.txt").write_text(values["file"] + "\n")
        here.template("vault", _SECRETS)
        here.ok("spawn", "-t", "vault", "--name", "vault")
        lengths = f"env={len(values['env'])} file={len(values['file'])} command={len(values['command'])}"
        show = 'echo "$FROM_ENV $FROM_FILE $FROM_COMMAND"'

        assert lengths in here.ok("logs", "vault", "api").out
        assert "\ntoken ********, key ********\n" in here.ok("logs", "vault", "hooks").out
        assert here.ok("exec", "vault", "--", "sh", "-c", show).out.split() == list(values.values())
        assert "FROM_ENV=********" in here.ok("env", "vault").out
        said = "".join(
            here.ok(*words).out for words in (["events"], ["why", "vault"], ["show", "vault", "--json"])
        )
        here.ok("daemon", "stop")
        _assert_nowhere(values.values(), here.state, said)
        here.ok("stop", "vault")
        _assert_nowhere(values.values(), here.state, said)


def _assert_nowhere(values: object, folder: Path, said: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not stat.S_ISSOCK(path.lstat().st_mode)]
    assert len(files) > 5
    for value in values:  # type: ignore[attr-defined]  # a view of strings
        found = [str(path) for path in files if value.encode() in path.read_bytes()]
        assert found == []
        assert value not in said


@proves("SVC-E2E-025")
def test_a_daemon_that_never_saw_the_secrets_watches_and_stops_their_agent(tmp_path: Path) -> None:
    with host() as here:
        here.template(
            "vault", _SECRETS.replace("FROM_FILE:", "OTHER:").replace("../key.txt", str(tmp_path / "key"))
        )
        (tmp_path / "key").write_text("x")
        spawn = here.run("spawn", "-t", "vault", "--name", "vault", env={"MY_OWN_TOKEN": "s3cret"})
        assert spawn.code == 0, spawn
        os.kill(here.daemon_pid() or 0, signal.SIGKILL)

        assert here.agents()["vault"]["lifecycle"] == "running"
        assert here.daemon_pid() is not None
        assert here.ok("stop", "vault").code == 0
        assert here.agent("vault")["lifecycle"] == "stopped"


_STOPS = f"""\
envmgr: 1
services:
  polite:
    command: "trap 'echo got INT; exit 0' INT; echo up; while :; do sleep 0.05; done"
    ready: {{log: up}}
    stop: {{signal: SIGINT}}
  deaf:
    command: "trap '' TERM; echo up; while :; do sleep 0.05; done"
    ready: {{log: up}}
    stop: {{grace: 300ms}}
  told:
    command: "echo up; while [ ! -e told.stop ]; do sleep 0.02; done; echo was told"
    ready: {{log: up}}
    stop: {{command: "touch told.stop; sleep 0.3"}}
  last: {{command: "trap 'echo last; date +%s%N > ended.last; exit' TERM; echo up; while :; do sleep 0.02; done", ready: {{log: up}}}}
  user:
    command: "trap 'date +%s%N > ended.user; exit' TERM; echo up; while :; do sleep 0.02; done"
    ready: {{log: up}}
    depends_on: [last]
{_AGENT}"""


@proves("SVC-E2E-026")
def test_each_service_is_stopped_its_own_way_dependants_first(shared: Host) -> None:
    place = spawned(shared, "stops", _STOPS)

    shared.ok("stop", "stops")

    assert "got INT" in shared.ok("logs", "stops", "polite").out
    assert "was told" in shared.ok("logs", "stops", "told").out
    assert int((place / "ended.user").read_text()) < int((place / "ended.last").read_text())


@proves("SVC-E2E-027")
def test_gc_removes_a_clean_worktree_at_stop_and_keeps_one_with_work(shared: Host) -> None:
    template = "envmgr: 1\ngc: {worktree: remove-if-clean}\n" + _AGENT
    clean, dirty = spawned(shared, "clean", template), spawned(shared, "dirty", template)
    (dirty / "work.txt").write_text("work\n")
    before = checkout(shared.repo)

    shared.ok("stop", "clean", "dirty")

    assert not clean.exists()
    assert "agent/clean" not in shared.branches()
    assert (dirty / "work.txt").read_text() == "work\n"
    assert "agent/dirty" in shared.branches()
    assert checkout(shared.repo) == before
    shared.ok("start", "clean")
    assert (clean / "index.html").exists()
    assert git(clean, "branch", "--show-current").strip() == "agent/clean"


@proves("SVC-E2E-028")
def test_what_a_service_prints_cannot_reach_the_terminal_of_the_reader(shared: Host) -> None:
    spawned(
        shared,
        "nasty",
        "envmgr: 1\nservices:\n  n: {command: \"printf 'a\\\\033[31mred\\\\033]0;title\\\\007b\\\\n'; exec sleep 1000\", ready: {log: red}}\n"
        + _AGENT,
    )

    out = shared.ok("logs", "nasty", "n").out

    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f]", out) is None
    assert "red" in out
