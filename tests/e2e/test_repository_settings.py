"""What a repository may say about settings."""

from __future__ import annotations

from tests.support.host import git, host
from tests.support.requirements import proves

_WEB = """
envmgr: 1
name: web
services:
  web:
    command: exec python3 -m http.server ${ports.http} --bind 127.0.0.1
    ports: {http: {}}
    ready: {http: {port: http}}
agent:
  kind: command
  command: [sleep, '1000']
"""


@proves("CONF-001")
def test_a_repository_sets_the_block_of_its_agents() -> None:
    with host() as here:
        here.template("web", _WEB)
        (here.repo / ".envmgr.toml").write_text("[ports]\nblock = 5\n", encoding="utf-8")
        here.ok("spawn", "-t", "web", "-n", "2")

        ports = sorted(s["ports"]["http"] for a in here.agents().values() for s in a["services"])

        assert ports[1] - ports[0] == 5


@proves("CONF-001")
def test_a_repository_cannot_weaken_the_host() -> None:
    with host() as here:
        here.sleeper()
        (here.repo / ".envmgr.toml").write_text("[host]\nmax_agents = 500\n", encoding="utf-8")

        refused = here.run("spawn", "-t", "sleeper")

        assert refused.code == 3
        assert ".envmgr.toml:2:14: host.max_agents cannot be set by a repository" in refused.err
        assert git(here.repo, "branch", "--list", "agent/*") == ""
