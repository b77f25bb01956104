"""Services as a template's author meets them: order, conditions, environment, probes, limits."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_AGENT = "agent: {kind: command, command: [sleep, '1000']}\n"
_SERVE = "exec python3 -m http.server $PORT --bind 127.0.0.1"


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


def spawned(here: Host, name: str, text: str) -> Path:
    """Worktree of an agent with this template."""
    here.template(name, text)
    here.ok("spawn", "-t", name, "--name", name)
    return Path(here.agent(name)["worktree"])


def service(here: Host, agent: str, name: str) -> dict[str, object]:
    return next(s for s in here.agent(agent)["services"] if s["name"] == name)


def variables(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


_CHAIN = f"""\
envmgr: 1
env: {{FLAVOUR: vanilla, GREETING: "hello ${{agent.name}}"}}
services:
  web:
    command: echo web >> order; env > web.env; {_SERVE}
    ports: [http]
    depends_on: {{api: {{condition: ready}}, seed: {{condition: completed}}}}
    env: {{API: "http://127.0.0.1:${{services.api.ports.http}}/", FLAVOUR: chocolate}}
    ready: {{http: /}}
  api:
    command: echo api >> order; env > api.env; {_SERVE}
    ports: {{http: {{env: LISTEN_ON}}}}
    depends_on: [db, migrate]
    ready: {{http: {{path: /index.html, status: [200]}}}}
    exports: {{API_URL: "http://127.0.0.1:${{ports.http}}/v1"}}
  migrate:
    kind: task
    command: sleep 0.2; echo migrate >> order; env > migrate.env
    depends_on: [db]
  seed:
    kind: task
    command: echo seed >> order; exit 3
    depends_on: [migrate]
    success_exit_codes: [0, 3]
  db:
    command: sleep 0.2; echo db >> order; env > db.env; {_SERVE}
    ports: [sql]
    ready: {{tcp: sql}}
    exports: {{DATABASE_URL: "db://user@127.0.0.1:${{ports.sql}}/main"}}
{_AGENT}"""


@proves("SVC-E2E-001")
def test_services_start_in_the_order_of_their_dependencies(shared: Host) -> None:
    place = spawned(shared, "order", _CHAIN)

    order = (place / "order").read_text().split()
    assert order[:2] == ["db", "migrate"]
    assert order[-1] == "web"
    assert sorted(order[2:4]) == ["api", "seed"]
    states = {s["name"]: s["state"] for s in shared.agent("order")["services"]}
    assert states == {"web": "ready", "api": "ready", "migrate": "done", "seed": "done", "db": "ready"}


@proves("SVC-E2E-002")
def test_dependants_and_the_assistant_get_ports_addresses_and_exports(shared: Host) -> None:
    place = spawned(shared, "wires", _CHAIN)

    env = {name: variables(place / f"{name}.env") for name in ("web", "api", "migrate", "db")}
    ports = {s["name"]: s["ports"] for s in shared.agent("wires")["services"]}
    sql, api, web = ports["db"]["sql"], ports["api"]["http"], ports["web"]["http"]
    assert env["db"]["PORT"] == str(sql)
    assert "DATABASE_URL" not in env["db"]
    assert env["api"]["DATABASE_URL"] == env["migrate"]["DATABASE_URL"] == f"db://user@127.0.0.1:{sql}/main"
    assert (env["api"]["PORT"], env["api"]["LISTEN_ON"]) == (str(api), str(api))
    assert env["web"]["API"] == f"http://127.0.0.1:{api}/"
    assert env["web"]["API_URL"] == f"http://127.0.0.1:{api}/v1"
    assert (env["web"]["FLAVOUR"], env["api"]["FLAVOUR"]) == ("chocolate", "vanilla")
    assert env["api"]["GREETING"] == "hello wires"
    for one in env.values():
        assert one["WEB_HTTP_PORT"] == str(web)
        assert one["DB_SQL_PORT"] == str(sql)
    agent = shared.ok("env", "wires", "--json").json["env"]
    assert agent["DATABASE_URL"] == f"db://user@127.0.0.1:{sql}/main"
    assert agent["API_URL"] == f"http://127.0.0.1:{api}/v1"
    assert "PORT" not in agent


_PROBES = f"""\
envmgr: 1
services:
  by_http: {{command: "{_SERVE}", ports: [http], ready: {{http: {{path: /index.html, body: "index"}}}}}}
  by_tcp: {{command: "{_SERVE}", ports: [p], ready: {{tcp: p}}}}
  by_exec: {{command: "sleep 0.2; touch made; exec sleep 1000", ready: {{exec: [test, -e, made]}}}}
  by_log: {{command: "sleep 0.1; echo listening on 80; exec sleep 1000", ready: {{log: "listening on \\\\d+"}}}}
  by_any:
    command: "echo up; exec sleep 1000"
    ports: [p]
    ready: {{any: [{{tcp: p}}, {{log: "^up$"}}]}}
  by_all:
    command: "echo up; {_SERVE}"
    ports: [p]
    ready: {{all: [{{tcp: p}}, {{log: "^up$"}}]}}
  by_life: {{command: sleep 1000}}
{_AGENT}"""


@proves("SVC-E2E-003")
def test_every_kind_of_probe_tells_when_a_service_is_ready(shared: Host) -> None:
    spawned(shared, "probes", _PROBES)

    states = {s["name"]: s["state"] for s in shared.agent("probes")["services"]}
    assert set(states.values()) == {"ready"}, states
    assert len(states) == 7


@contextmanager
def server() -> Iterator[int]:
    """An HTTP server of the test's own."""

    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


_EXTERNAL = """\
envmgr: 1
services:
  cloud:
    kind: external
    ports: {{http: {{number: {port}}}}}
    ready: {{http: {{port: http}}, deadline: 1s}}
    exports: {{CLOUD_URL: "http://127.0.0.1:${{ports.http}}/"}}
"""


@proves("SVC-E2E-004")
def test_an_external_service_is_only_looked_at(shared: Host) -> None:
    with server() as port:
        spawned(shared, "outside", _EXTERNAL.format(port=port) + _AGENT)

        assert service(shared, "outside", "cloud")["state"] == "ready"
        assert f"CLOUD_URL=http://127.0.0.1:{port}/\n" in shared.ok("env", "outside").out
        shared.ok("stop", "outside")

    shared.template("away", _EXTERNAL.format(port=port) + _AGENT)
    ran = shared.run("spawn", "-t", "away", "--name", "away")
    assert ran.code == 8
    assert "cloud was not ready within 1 s: connection refused" in ran.err


@proves("SVC-E2E-005")
def test_limits_and_priority_are_really_applied(shared: Host) -> None:
    place = spawned(
        shared,
        "limits",
        "envmgr: 1\nservices:\n  small:\n    command: 'ulimit -n > nofile; ulimit -v > space; nice > nice; exec sleep 1000'\n"
        "    limits: {nofile: 77, nice: 5, memory: 512MiB}\n    ready: {exec: [test, -s, nice]}\n" + _AGENT,
    )

    assert (place / "nofile").read_text().strip() == "77"
    assert (place / "nice").read_text().strip() == "5"
    # Memory is no rlimit: programs that only reserve much address space (node, Go) would die of it.
    assert (place / "space").read_text().strip() == "unlimited"


@proves("SVC-E2E-006")
def test_env_files_come_before_env_and_are_read_from_the_repository(shared: Host) -> None:
    (shared.repo / "common.env").write_text("A=from file\nB=from file\n# a remark\nexport C='quoted value'\n")
    (shared.repo / "api.env").write_text("D=for the service\n")
    place = spawned(
        shared,
        "files",
        "envmgr: 1\nenv_file: [common.env]\nenv: {B: from env}\nservices:\n"
        "  api: {command: 'env > api.out; exec sleep 1000', env_file: [api.env], ready: {exec: [test, -s, api.out]}}\n"
        + _AGENT,
    )

    env = variables(place / "api.out")
    assert (env["A"], env["B"], env["C"], env["D"]) == (
        "from file", "from env", "quoted value", "for the service",
    )  # fmt: skip
    assert "D=" not in shared.ok("env", "files").out


@proves("SVC-E2E-007")
def test_a_service_that_is_not_critical_may_fail_and_a_disabled_one_is_left_out(shared: Host) -> None:
    spawned(
        shared,
        "lenient",
        "envmgr: 1\nservices:\n  extra: {command: exit 4, critical: false, restart: never}\n  off: {command: exit 5, disabled: true}\n"
        "  main: {command: sleep 1000, depends_on: {extra: {required: false}}}\n" + _AGENT,
    )

    agent = shared.agent("lenient")
    assert agent["lifecycle"] == "running"
    assert {s["name"]: s["state"] for s in agent["services"]} == {"extra": "failed", "main": "ready"}


@proves("SVC-E2E-008")
def test_a_service_that_dies_later_is_told_by_ls_why_and_doctor(shared: Host) -> None:
    place = spawned(
        shared,
        "fragile",
        "envmgr: 1\nservices:\n  glass: {command: 'while [ ! -e end ]; do sleep 0.05; done; exit 9', restart: never}\n"
        + _AGENT,
    )

    (place / "end").touch()

    eventually(lambda: service(shared, "fragile", "glass")["state"] == "failed")
    assert "status 9" in shared.ok("ls").out
    assert "status 9" in shared.ok("why", "fragile").out
    doctor = shared.run("doctor")
    assert doctor.code == 1
    assert "envmgr why fragile" in doctor.out
    shared.ok("stop", "fragile")
