"""Commands that look: ls, show, why, events, logs, url, env, version, daemon, doctor."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.model.ids import LABEL_AGENT, LABEL_STATE
from tests.support.docker import BASE, engine, nothing_in_engine
from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_WEB = """\
envmgr: 1
secrets:
  API_TOKEN: {from: env, name: MY_TOKEN}
services:
  site:
    command: exec python3 -m http.server ${ports.http} --bind 127.0.0.1
    ports: [http]
    ready: {http: /}
    exports: {SITE_URL: "http://127.0.0.1:${ports.http}/"}
agent: {kind: command, command: [sleep, "1000"]}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host(MY_TOKEN="very-secret-value") as here:
        here.template("site", _WEB)
        here.ok("spawn", "-t", "site", "--name", "blue-otter")
        here.ok("spawn", "-t", "shell", "--name", "blue-fox")
        yield here


@proves("CLI-001")
def test_ls_is_a_table_for_people_and_json_for_programs(shared: Host) -> None:
    head, *rows = shared.ok("ls").out.splitlines()
    agents = shared.agents()

    assert head.split() == ["NAME", "STATE", "ACTIVITY", "FOR", "SERVICES", "PORTS", "BRANCH", "NOTE"]
    assert [row.split()[0] for row in rows] == ["blue-otter", "blue-fox"]
    assert "● RUNNING" in rows[0]
    assert "1/1" in rows[0]
    assert str(agents["blue-otter"]["services"][0]["ports"]["http"]) in rows[0]
    assert agents["blue-otter"]["lifecycle"] == "running"
    assert agents["blue-otter"]["branch"] == "agent/blue-otter"


@proves("CLI-002")
def test_names_and_ids_may_be_shortened_as_long_as_they_are_unique(shared: Host) -> None:
    otter = shared.agent("blue-o")
    by_id = shared.agent(otter["id"][:6])
    ambiguous = shared.run("show", "blue")

    assert (otter["name"], by_id["name"]) == ("blue-otter", "blue-otter")
    assert ambiguous.code == 4
    assert "blue could be blue-otter, blue-fox" in ambiguous.err
    assert "Give more of the name." in ambiguous.err


@proves("CLI-003")
def test_colour_is_for_terminals_and_not_for_those_who_say_no(shared: Host) -> None:
    assert "\x1b" not in shared.ok("ls").out
    assert "\x1b[" in _in_terminal(shared, "ls")
    assert "\x1b[" not in _in_terminal(shared, "ls", NO_COLOR="1")
    assert "\x1b[" not in _in_terminal(shared, "show", "blue-otter", NO_COLOR="1")


def _in_terminal(here: Host, *args: str, **env: str) -> str:
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "envmgr", *args], cwd=here.repo, env=here.environment(TERM="xterm", **env),
        stdin=slave, stdout=slave, stderr=slave, timeout=30, check=True,
    )  # fmt: skip
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed and everything is read
            break
        out += piece
    os.close(master)
    assert done.returncode == 0
    return out.decode()


@proves("CLI-004")
def test_show_tells_where_everything_is(shared: Host) -> None:
    text, agent = shared.ok("show", "blue-otter").out, shared.agent("blue-otter")

    assert agent["worktree"] in text
    assert str(shared.repo) in text
    assert agent["services"][0]["urls"][0] in text
    assert "because    all steps done" in text


@proves("CLI-005")
def test_why_tells_state_evidence_decisions_and_what_comes_next(shared: Host) -> None:
    why = shared.ok("why", "blue-otter", "--json").json
    text = shared.ok("why", "blue-otter").out

    assert [step["step"] for step in why["steps"]][-3:] == ["services", "assistant", "readiness"]
    assert {step["state"] for step in why["steps"]} == {"finished"}
    assert why["decisions"][-1]["kind"] == "agent.running"
    assert "envmgr attach blue-otter" in why["next"]
    assert why["next"] in text


@proves("CLI-006")
def test_events_are_numbered_resumable_and_of_all_agents_or_of_one(shared: Host) -> None:
    everything = shared.events()
    of_one = shared.events("blue-fox")
    rest = shared.events("--after", str(everything[4]["seq"]))

    assert [e["seq"] for e in everything] == sorted(e["seq"] for e in everything)
    assert {e["name"] for e in everything} == {"blue-otter", "blue-fox"}
    assert {e["name"] for e in of_one} == {"blue-fox"}
    assert rest == everything[5:]
    assert "agent.running" in shared.ok("events").out


@proves("CLI-007")
def test_followed_events_arrive_as_they_happen(shared: Host) -> None:
    follower = shared.start("events", "--follow", "--json", "--limit", "1")
    try:
        assert follower.stdout is not None
        follower.stdout.readline()
        shared.ok("stop", "blue-fox")
        kinds = []
        while "agent.stopped" not in kinds:
            kinds.append(json.loads(follower.stdout.readline())["kind"])
    finally:
        follower.terminate()
        follower.communicate(timeout=10)
    shared.ok("start", "blue-fox")


@proves("CLI-008")
def test_logs_print_what_a_service_wrote_and_the_assistants_screen(shared: Host) -> None:
    assert "GET / HTTP/1.1" in shared.ok("logs", "blue-otter").out
    assert "GET / HTTP/1.1" in shared.ok("logs", "blue-otter", "site", "-l", "5").out
    wrong = shared.run("logs", "blue-otter", "sight")

    assert wrong.code == 4
    assert "Logs: site" in wrong.err
    shared.ok("send", "blue-fox", "echo from-the-$((40 + 2))-screen")
    eventually(lambda: "from-the-42-screen" in shared.ok("logs", "blue-fox", "agent").out, within_s=15)


@proves("CLI-009")
def test_url_prints_addresses_that_answer(shared: Host) -> None:
    url = shared.ok("url", "blue-otter").out.strip()
    wrong = shared.run("url", "blue-otter", "sight")

    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.status == 200
    assert shared.ok("url", "blue-otter", "site", "--json").json["urls"] == {"site.http": url}
    assert wrong.code == 4
    assert "It has: site." in wrong.err


@proves("CLI-010")
def test_env_masks_secrets_until_it_is_told_to_reveal_them(shared: Host) -> None:
    masked, revealed = shared.ok("env", "blue-otter").out, shared.ok("env", "blue-otter", "--reveal").out

    assert "API_TOKEN=********" in masked
    assert "very-secret-value" not in masked
    assert "API_TOKEN=very-secret-value" in revealed
    assert f"SITE_URL={shared.ok('url', 'blue-otter').out.strip()}" in masked


@proves("CLI-093")
def test_a_port_of_an_env_file_does_not_contradict_the_one_that_was_leased() -> None:
    with host(MY_TOKEN="very-secret-value") as here:
        (here.repo / "dev.env").write_text("PORT=5000\nAPP_PORT=5001\nOTHER=5002\n")
        here.template("env-file", _WEB.replace("ports: [http]", "ports: {http: {env: APP_PORT}}")
                      .replace("services:", "env_file: dev.env\nservices:", 1))  # fmt: skip
        here.ok("spawn", "-t", "env-file", "--name", "crow")
        port = here.agent("crow")["services"][0]["ports"]["http"]

        seen = here.ok("exec", "crow", "--", "sh", "-c", "echo $PORT-$APP_PORT-$SITE_HTTP_PORT-$OTHER").out
        own = here.ok("exec", "--service", "site", "crow", "--", "sh", "-c", "echo $PORT-$APP_PORT").out

    assert seen == f"--{port}-5002\n"
    assert own == f"{port}-{port}\n"


@proves("CLI-011")
def test_version_names_the_tools_it_stands_on(shared: Host) -> None:
    version = shared.ok("version", "--json").json

    assert version["tmux"].startswith("tmux ")
    assert version["git"].startswith("git version ")
    assert version["envmgr"] in shared.ok("version").out
    assert shared.ok("--version").out == f"envmgr {version['envmgr']}\n"


@proves("CLI-012")
def test_the_daemon_tells_about_itself_and_shows_its_log(shared: Host) -> None:
    status = shared.ok("daemon", "status", "--json").json

    assert status["running"]
    assert status["agents"] == 2
    assert f"pid {status['pid']}" in shared.ok("daemon", "status").out
    assert "daemon ready" in shared.ok("daemon", "logs").out


@proves("CLI-013")
def test_doctor_finds_nothing_wrong_with_a_host_in_order(shared: Host) -> None:
    checks = shared.ok("doctor", "--json").json

    assert checks["ok"], checks
    assert {"git", "tmux", "daemon", "disk", "socket path"} <= {check["check"] for check in checks["checks"]}


@proves("CLI-034")
def test_doctor_names_images_of_agents_that_are_no_more(shared: Host) -> None:
    labels = {LABEL_STATE: str(shared.state), LABEL_AGENT: "0badcafe"}
    with nothing_in_engine(labels):
        text = f"FROM {BASE}\nENV MADE_FOR=nobody\n".encode()
        image, _ = engine().images.build(fileobj=io.BytesIO(text), labels=labels, rm=True)

        told = shared.run("doctor")
        engine().images.remove(image.id)
        mended = shared.run("doctor")

    short = image.id.removeprefix("sha256:")[:12]
    assert f"docker image rm {short}" in told.out
    assert told.code == 1
    assert "image rm" not in mended.out


def test_doctor_tells_what_snapshots_take(shared: Host, tmp_path: Path) -> None:
    def found() -> str:
        checks = shared.run("doctor", "--json", env={"ENVMGR_STATE_DIR": str(tmp_path)}).json["checks"]
        return str(next(check["found"] for check in checks if check["check"] == "snapshots"))

    before = found()
    (tmp_path / "snapshots" / "a-1").mkdir(parents=True)
    (tmp_path / "snapshots" / "a-1" / "data.tar").write_bytes(bytes(2_100_000))

    assert before == "none with volumes"
    assert found() == "2.1 MB of volumes: envmgr snapshot list"


@proves("CLI-014")
def test_the_shell_completes_commands_options_and_names(shared: Host) -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        env = {"_ENVMGR_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        return [answer.partition(",")[2] for answer in shared.run(env=env).out.splitlines()]

    assert complete("envmgr sp") == ["spawn"]
    assert complete("envmgr show blue-") == ["blue-otter", "blue-fox"]
    assert "--template" in complete("envmgr spawn --te")
    assert complete("envmgr template v") == ["validate"]
    assert complete("envmgr spawn --template si") == ["site"]


@proves("CLI-015")
def test_every_command_helps_and_every_result_can_be_json(shared: Host) -> None:
    top = shared.ok("--help").out

    for command in [
        "spawn",
        "ls",
        "show",
        "why",
        "events",
        "logs",
        "attach",
        "send",
        "exec",
        "env",
        "url",
        "stop",
        "start",
        "rm",
        "undo",
        "down",
        "doctor",
        "init",
        "template",
        "daemon",
        "version",
    ]:
        assert f"  {command} " in top, command
        page = shared.ok(command, "--help").out
        assert page.startswith("Usage: envmgr")
        if command not in ("template", "daemon"):
            assert "--json" in page
