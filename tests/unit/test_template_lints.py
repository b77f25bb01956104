"""What a well-formed template can still have wrong: each lint with file, line and column."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from envmgr.config.templates.port_lints import port_variable
from envmgr.runtime.rendering import variable
from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


SERVICE = WHOLE + "services:\n  a:\n    command: x\n"
CHAIN = "".join(f"  s{n}: {{command: x, depends_on: [s{m}]}}\n" for m, n in pairwise(range(6)))

CASES = {
    "budget out of reach": (
        SERVICE + "    restart: {budget: 60/10m}\n",
        "6:23: services.a.restart.budget: 60 restarts take at least 1032 s with these delays",
    ),
    "budget out of reach for what dies at once": (
        SERVICE + "    restart: {budget: 15/10m}\n",
        "6:23: warning: services.a.restart.budget: 15 restarts of a service that dies at once take 603 s",
    ),
    "flap out of reach": (
        SERVICE + "    restart: {initial: 10s, max: 5m, flap: 99/1h}\n",
        "6:44: services.a.restart.flap: 99 restarts take at least",
    ),
    "first delay above the last": (
        SERVICE + "    restart: {initial: 2m}\n",
        "6:24: services.a.restart: 'initial' is more than 'max'",
    ),
    "graces that were written": (
        SERVICE + "    stop: {grace: 50s}\n",
        "6:19: stopping may take 65 s, more than the 60 s allowed for a stop",
    ),
    "graces that add up": (
        WHOLE + "services:\n  s0: {command: x}\n" + CHAIN,
        "4:3: warning: stopping may take 75 s, more than the 60 s",
    ),
    "graces through a task": (
        WHOLE
        + "services:\n  a: {command: x, stop: {grace: 30s}}\n  t: {kind: task, command: x, depends_on: [a]}\n"
        "  b: {command: x, stop: {grace: 20s}, depends_on: [t]}\n",
        "4:33: stopping may take 65 s",
    ),
    "fixed port twice": (
        WHOLE
        + "services:\n  a: {command: x, ports: {p: {prefer: 8080, fixed: true}}}\n"
        + "  b: {command: x, ports: {p: {prefer: 8080, fixed: true}}}\n",
        "5:39: fixed port 8080 is already taken by services.a.ports.p",
    ),
    "replicas and a small block": (
        SERVICE + "    ports: [h, d]\n    replicas: 3\nports: {block: 7}\n",
        "8:16: 8 ports are declared, but an agent gets a block of 7",
    ),
    "two ports in one variable": (
        WHOLE + "services:\n  api: {command: x, ports: [v1-http]}\n  api-v1: {command: x, ports: [http]}\n",
        "5:24: services.api-v1.ports.http and services.api.ports.v1-http would both be in the variable API_V1_HTTP_PORT",
    ),
    "replica and port in one variable": (
        WHOLE
        + "services:\n  api_1: {command: x, ports: [h]}\n  api: {command: x, ports: [h], replicas: 2}\n",
        "5:21: services.api.ports.h and services.api_1.ports.h would both be in the variable API_1_H_PORT",
    ),
    "replica and service of one name": (
        WHOLE + "services:\n  api-1: {command: x}\n  api: {command: x, replicas: 2}\n",
        "5:21: replica api-1 of services.api would have the name of service api-1",
    ),
    "two ports of a service in one variable": (
        SERVICE + "    ports: {a: {env: PORT}, b: {env: PORT}}\n",
        "6:38: services.a.ports.b: 'env: PORT' is the variable of port 'a' already",
    ),
    "value as code": (
        WHOLE + "params: {x: {default: 1}}\nservices: {a: {command: [/bin/sh, -ec, 'run ${params.x}']}}\n",
        "4:40: warning: services.a.command[2]: the value of ${params.x} would be read as code by /bin/sh",
    ),
    "value as code in a probe": (
        WHOLE
        + "services: {a: {image: x, ready: {exec: [sh, -c, 'pg_isready -U ${USER:-me}'], inside: true}}}\n",
        "3:49: warning: services.a.ready.exec[2]: the value of ${USER:-me} would be read as code by sh",
    ),
    "own address in an export": (
        WHOLE
        + "services:\n  db: {image: x, ports: {p: {container: 1}}, exports: {URL: 'pg://127.0.0.1:5432/x'}}\n"
        "  api: {image: y, depends_on: [db]}\n",
        "4:61: warning: services.db.exports.URL says 127.0.0.1, which inside of api is api itself",
    ),
    "host in a command line": (
        WHOLE + "services: {a: {command: 'serve --on ${host}'}}\n",
        "3:25: warning: services.a.command: in a command line ${host} is a variable of the shell",
    ),
    "only the end of a critical task": (
        WHOLE + "services:\n  t: {kind: task, command: x}\n  a: {command: x, depends_on: {t: completed}}\n",
        "5:32: warning: services.a only waits for the end of t, so it starts after a failure, too",
    ),
    "secret literal": (
        WHOLE + "services: {a: {command: x, env: {DB_PASSWORD: hunter2}}}\n",
        "3:47: warning: services.a.env.DB_PASSWORD looks like a secret written into the file",
    ),
    "secret build argument": (
        WHOLE + "services: {a: {build: {args: {NPM_TOKEN: abc}}}}\n",
        "3:42: warning: services.a.build.args.NPM_TOKEN looks like a secret written into the file",
    ),
    "key by its looks": (
        WHOLE + f"env: {{GIT: ghp_{'a1' * 18}}}\n",
        "3:12: warning: env.GIT looks like a key written into the file",
    ),
    "probe of a udp port": (
        WHOLE + "services: {a: {image: x, ports: {p: {container: 53, protocol: udp}}, ready: {tcp: p}}}\n",
        "3:83: services.a.ready.tcp: port 'p' is udp",
    ),
    "alias of another": (
        WHOLE + "services: {a: {image: x, aliases: [b]}, b: {image: x}}\n",
        "3:36: alias 'b' of services.a is the name of another service",
    ),
    "alias of another on a network": (
        WHOLE + "services: {a: {image: x, networks: {n: {aliases: [b]}}}, b: {image: x}}\n",
        "3:51: alias 'b' of services.a is the name of another service",
    ),
}


@pytest.mark.parametrize("name", CASES)
@proves("TMPL-022")
def test_a_lint_is_told_with_its_place(desk: Desk, name: str) -> None:
    text, start = CASES[name]

    findings = [
        finding for finding in desk.findings(text) if "only one agent can run at a time" not in finding
    ]

    assert [finding[: len(start)] for finding in findings] == [start]


FINE = {
    "fourteen fit": SERVICE + "    restart: {budget: 14/10m}\n",
    "more ports than a block": SERVICE + f"    ports: [{', '.join(f'p{n}' for n in range(30))}]\n",
    "a value as an argument": WHOLE
    + "params: {x: {default: 1}}\nservices: {a: {command: [sh, -c, 'run \"$1\"', sh, '${params.x}']}}\n",
    "a port in a script": SERVICE.replace("command: x", "command: [sh, -c, 'run ${ports.h}']")
    + "    ports: [h]\n",
    "own address for a process": WHOLE
    + "services:\n  db: {command: x, ports: [p], exports: {URL: 'pg://127.0.0.1:${ports.p}'}}\n"
    "  api: {command: y, depends_on: [db]}\n",
    "own address in front of a service's port": WHOLE
    + "services:\n  db: {image: x, ports: {p: {container: 1}}, exports: {URL: 'pg://127.0.0.1:${ports.p}'}}\n"
    "  api: {image: y, depends_on: [db]}\n",
    "a container that listens where it is told": WHOLE + "services: {a: {image: x, ports: [http]}}\n",
    "secret of the environment": WHOLE + "secrets: {DB_PASSWORD: env}\n",
    "one port for tcp and udp": WHOLE
    + "services: {a: {image: x, ports: {t: {container: 53}, u: {container: 53, protocol: udp}}}}\n",
}


@pytest.mark.parametrize("name", FINE)
@proves("TMPL-022")
def test_what_is_fine_is_not_told(desk: Desk, name: str) -> None:
    assert desk.findings(FINE[name]) == []


@pytest.mark.parametrize(("service", "port"), [("api", "http"), ("api-v1", "h_t-t-p"), ("a", "0")])
def test_variables_are_compared_as_they_will_be_called(service: str, port: str) -> None:
    assert port_variable(service, port) == variable(service, port)


def test_a_cycle_through_the_template_names_its_members(desk: Desk) -> None:
    lines = [f"  s{n}: {{command: x, depends_on: [s{(n + 1) % 3}]}}\n" for n in range(3)]

    assert desk.findings(HEAD + "agent: {}\nservices:\n" + "".join(lines)) == [
        "4:33: services wait for each other: s0 -> s1 -> s2 -> s0"
    ]
