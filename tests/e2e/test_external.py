"""Services that run elsewhere: looked at, exported, never touched."""

from __future__ import annotations

import socket

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_TEMPLATE = """\
envmgr: 1
services:
  cloud:
    kind: external
    ports: {{sql: {{number: {port}}}}}
    ready: {{tcp: sql, period: 100ms, down: 2}}
    exports: {{CLOUD: "tcp://127.0.0.1:${{ports.sql}}"}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


def _state(here: Host) -> str:
    return str(here.agent("outside")["services"][0]["state"])


@proves("EXT-001")
def test_an_external_service_that_goes_away_and_comes_back_is_noticed() -> None:
    with host() as here:
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
        here.template("outside", _TEMPLATE.format(port=port))
        here.ok("spawn", "-t", "outside", "--name", "outside")
        assert f"CLOUD=tcp://127.0.0.1:{port}\n" in here.ok("env", "outside").out

        server.close()
        eventually(lambda: _state(here) == "failed", within_s=20)
        assert "connection refused" in here.agent("outside")["services"][0]["detail"]

        with socket.create_server(("127.0.0.1", port)):
            eventually(lambda: _state(here) == "ready", within_s=20)
