"""The three faces of one host, four ways in: command line, HTTP, MCP over pipes and MCP over HTTP; each takes the same input."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import types
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from envmgr.app.faces import FROM_CLI, FROM_HTTP, FROM_MCP
from envmgr.app.manifest import params
from envmgr.app.registry import OPERATIONS, Operation
from envmgr.interfaces.mcp.serving import PROBLEM
from tests.support.host import Host

# Any throughout: JSON documents.


class Face(Protocol):
    """One way in. A failure is answered as `{"problem": ...}`."""

    name: str
    withheld: Mapping[str, str]

    def call(self, op: Operation, given: Mapping[str, Any]) -> Any:
        """The result of an operation; of a stream its items."""
        ...


@dataclass
class CommandLine:
    """`envmgr ... --json`."""

    host: Host
    name: str = "facea"
    withheld: Mapping[str, str] = field(default_factory=lambda: FROM_CLI)

    def call(self, op: Operation, given: Mapping[str, Any]) -> Any:
        ran = self.host.run(*words(op, given), stdin="")
        lines = [json.loads(line) for line in ran.out.splitlines()]
        if lines and list(lines[-1]) == ["problem"]:
            return lines[-1]
        assert lines or op.stream, f"{words(op, given)} said nothing: {ran.err}\n{self.host.daemon_log()}"
        return lines if op.stream else lines[-1]


def words(op: Operation, given: Mapping[str, Any]) -> list[str]:
    """The command line that says the same."""
    positional: list[str] = []
    options: list[str] = []
    for param in params(op.takes):
        value = given.get(param["name"])
        if param["supplied"] or value is None:
            continue
        flag = "--" + param["name"].rstrip("_").replace("_", "-")
        values = [str(one) for one in value] if isinstance(value, list) else [str(value)]
        if param["argument"]:
            positional += values
        elif param["type"] == "boolean":
            options += [flag if value else flag.replace("--", "--no-", 1)]
        else:
            options += [word for one in values for word in (flag, one)]
    known = {param["name"] for param in params(op.takes)}
    assert set(given) <= known, f"the command line of {op.name} does not take {set(given) - known}"
    sure = ["--yes"] if op.touch == "destroy" else []
    return [*op.command, *options, *sure, "--json", *(["--", *positional] if positional else [])]


@dataclass
class Http:
    """JSON over the daemon's socket."""

    host: Host
    client: httpx.Client
    name: str = "faceb"
    withheld: Mapping[str, str] = field(default_factory=lambda: FROM_HTTP)

    def call(self, op: Operation, given: Mapping[str, Any]) -> Any:
        method, path = op.route
        rest = {**self._supplied(op), **given}
        for key in list(rest):
            if f"{{{key}}}" in path:
                path = path.replace(f"{{{key}}}", quote(str(rest.pop(key)), safe=""))
        how: dict[str, Any] = {"params": rest} if method == "GET" else {"json": rest}
        answer = self.client.request(method, path, **how)
        if answer.status_code >= 400:
            return {"problem": answer.json()}
        if not op.stream:
            return answer.json()
        return [json.loads(line) for line in answer.text.splitlines()]

    def _supplied(self, op: Operation) -> dict[str, Any]:
        by = {"cwd": str(self.host.repo), "environment": {"PATH": os.environ["PATH"]}}
        return {p["name"]: by[p["supplied"]] for p in params(op.takes) if p["supplied"]}


@dataclass
class Mcp:
    """The official client."""

    portal: BlockingPortal
    client: Client
    name: str
    supplied: Mapping[str, Any]
    withheld: Mapping[str, str] = field(default_factory=lambda: FROM_MCP)

    def call(self, op: Operation, given: Mapping[str, Any]) -> Any:
        fields = {
            p["name"]: self.supplied[p["supplied"]]
            for p in params(op.takes)
            if p["supplied"] in self.supplied
        }
        # The client checks the result against the schema that the tool promised.
        result = self.portal.call(self.client.call_tool, op.tool, {**fields, **given})
        assert isinstance(result, types.CallToolResult)
        (content,) = result.content
        assert isinstance(content, types.TextContent)
        first, _, rest = content.text.partition("\n")
        assert first.strip(), op.name
        json.loads(rest)
        if result.is_error:
            assert result.meta is not None
            return {"problem": result.meta[PROBLEM]}
        return result.structured_content["items"] if op.stream else result.structured_content


@contextmanager
def faces(host: Host) -> Iterator[list[Face]]:
    """All ways into the daemon of a host, which runs."""
    socket = str(host.state / "daemon.sock")
    with (
        start_blocking_portal() as portal,
        httpx.Client(
            transport=httpx.HTTPTransport(uds=socket), base_url="http://localhost", timeout=60
        ) as http,
        portal.wrap_async_context_manager(piped(host)) as pipes,
        httpx2_client(portal, socket) as wire,
        portal.wrap_async_context_manager(
            Client(streamable_http_client("http://localhost/mcp?tools=all", http_client=wire))
        ) as mounted,
    ):
        supplied = {"cwd": str(host.repo), "environment": {"PATH": os.environ["PATH"]}}
        yield [
            CommandLine(host),
            Http(host, http),
            Mcp(portal, pipes, "facec", {}),
            Mcp(portal, mounted, "faced", supplied),
        ]


def piped(host: Host, *args: str, **env: str) -> Client:
    """The official client of `envmgr mcp` in the repository, with all tools unless `args` say otherwise."""
    words = [*(args or ("--tools", "all"))]
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "envmgr", "mcp", *words],
        env=host.environment(**env),
        cwd=host.repo,
    )
    return Client(stdio_client(server))


@contextmanager
def httpx2_client(portal: BlockingPortal, socket: str) -> Iterator[httpx2.AsyncClient]:
    """What the official client takes to speak HTTP, through a Unix socket."""
    client = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=socket), timeout=60)
    with portal.wrap_async_context_manager(client) as opened:
        yield opened


def offering(op: Operation, everywhere: list[Face]) -> list[Face]:
    """The faces that offer it."""
    assert op.name in OPERATIONS
    return [face for face in everywhere if op.name not in face.withheld]
