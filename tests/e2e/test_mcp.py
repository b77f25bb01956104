"""`envmgr mcp` and `/mcp`, as assistants use them: with the official client, and with bytes that no client would send."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx2
import psutil
import pytest
from mcp import types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from envmgr.app.tools import offered
from envmgr.interfaces.mcp.catalogue import RESOURCES
from envmgr.interfaces.mcp.serving import PROBLEM
from tests.support.faces import piped
from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import async_eventually

# Any throughout: JSON documents.
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with host() as made:
        made.sleeper()
        made.ok("spawn", "--template", "sleeper", "--name", "otter")
        yield made


def text(result: Any) -> str:
    """What an assistant shows its model when it shows nothing else."""
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def problem(result: Any) -> Any:
    """Of a call that failed."""
    assert result.is_error
    return result.meta[PROBLEM]


# --- what is offered ------------------------------------------------------------------------------------------------


@proves("MCP-002")
async def test_an_assistant_sees_a_compact_set_of_tools_unless_it_asks_for_all(here: Host) -> None:
    async with piped(here, "--tools", "compact") as few, piped(here, "--tools", "all") as many:
        compact = {tool.name for tool in (await few.list_tools()).tools}
        everything = {tool.name for tool in (await many.list_tools()).tools}

        with pytest.raises(MCPError, match="It is there when .* `--tools all`"):
            await few.call_tool("agent_list", {})

    assert {"acquire_lock", "get_work", "complete_work", "remember", "help"} <= compact
    assert compact < everything == {op.tool for op in offered()}


@proves("MCP-001")
async def test_tools_say_what_they_do_to_the_world(here: Host) -> None:
    async with piped(here) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    hints = {name: tool.annotations for name, tool in tools.items()}
    looks, removes = hints["agent_list"], hints["agent_rm"]
    assert looks is not None
    assert looks.read_only_hint is True
    assert removes is not None
    assert (removes.read_only_hint, removes.destructive_hint) == (False, True)
    # The bridge knows in which folder it was started, and says so by itself.
    assert "repo" not in tools["acquire_lock"].input_schema["properties"]


@proves("MCP-003")
async def test_resources_and_prompts_have_the_names_of_the_agent_coordinator(here: Host) -> None:
    async with piped(here, "--tools", "compact") as client:
        await client.call_tool("acquire_lock", {"targets": ["src/resource.py"]})
        resources = {str(one.uri) for one in (await client.list_resources()).resources}
        read = {uri: (await client.read_resource(uri)).contents[0] for uri in sorted(resources)}
        prompts = {one.name for one in (await client.list_prompts()).prompts}
        prompt = await client.get_prompt("coordinate_file_edit", {"file_path": "src/{odd}.py"})
        with pytest.raises(MCPError, match="no resource is called 'locks://nowhere'"):
            await client.read_resource("locks://nowhere")
        with pytest.raises(MCPError, match="file_path is missing"):
            await client.get_prompt("coordinate_file_edit", {})

    assert resources == {resource.uri for resource in RESOURCES}
    locks = read["locks://current"]
    assert isinstance(locks, types.TextResourceContents)
    assert "src/resource.py" in locks.text
    profile = read["profiles://current"]
    assert isinstance(profile, types.TextResourceContents)
    assert "locks" in json.loads(profile.text)["scopes"]
    assert prompts == {"coordinate_file_edit", "start_work_session", "hand_over"}
    assert isinstance(prompt.messages[0].content, types.TextContent)
    assert "src/{odd}.py" in prompt.messages[0].content.text


# --- calls ----------------------------------------------------------------------------------------------------------


@proves("MCP-001", "MCP-008")
async def test_a_result_is_typed_and_says_the_same_to_who_reads_text_only(here: Host) -> None:
    async with piped(here, "--tools", "compact") as client:
        result = await client.call_tool("acquire_lock", {"targets": ["src/typed.py"], "reason": "a test"})

    said, _, document = text(result).partition("\n")
    assert "src/typed.py" in said
    assert json.loads(document)["locks"][0]["token"] == result.structured_content["locks"][0]["token"]


@proves("MCP-004", "MCP-008")
async def test_a_wrong_argument_is_told_with_the_known_ones_and_nothing_ends(here: Host) -> None:
    async with piped(here) as client:
        wrong = await client.call_tool("acquire_lock", {"targets": 3})
        odd = await client.call_tool("acquire_lock", {"colour": "red"})
        nul = await client.call_tool("acquire_lock", {"targets": ["a\0b"]})
        huge = await client.call_tool("remember", {"summary": "x" * 1_000_000})
        pathless = await client.call_tool("agent_show", {})
        with pytest.raises(MCPError, match="no tool is called 'acquire_look'.* Did you mean acquire_lock"):
            await client.call_tool("acquire_look", {})
        well = await client.call_tool("version", {})

    assert "targets must be a list" in problem(wrong)["message"]
    assert "acquire_lock takes: targets" in problem(odd)["hint"]
    assert problem(nul)["code"].startswith("usage")
    assert problem(huge)["code"].startswith("usage")
    assert problem(pathless) == {
        **problem(pathless),
        "code": "usage.invalid",
        "message": "agent is missing",
    }
    assert text(odd).startswith("colour is unknown. acquire_lock takes: targets")
    assert not well.is_error


@proves("MCP-005")
async def test_a_call_that_waits_holds_up_no_other_and_ends_when_it_is_cancelled(here: Host) -> None:
    async with piped(here) as client:
        await _give_away(client, "otter")
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "acquire_lock", {"targets": ["src/busy.py"], "wait_s": 600})
            await async_eventually(lambda: _somebody_waits(client), within_s=20)
            group.cancel_scope.cancel()
        await async_eventually(lambda: _nobody_waits(client), within_s=20)


@proves("MCP-008")
async def test_a_stream_is_collected_and_tells_its_progress(here: Host) -> None:
    told: list[tuple[float, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with piped(here) as client:
        result = await client.call_tool("events", {"limit": 5}, progress_callback=tell)

    items = result.structured_content["items"]
    assert result.structured_content["is_complete"]
    assert len(items) == 5
    await async_eventually(lambda: [done for done, _ in told] == [1, 2, 3, 4, 5])


@proves("MCP-007")
async def test_the_key_says_who_calls(here: Host) -> None:
    key = _key_of(here, "otter")
    async with piped(here, ENVMGR_AGENT_KEY=key) as agent, piped(here, ENVMGR_AGENT_KEY="wrong") as nobody:
        mine = await agent.call_tool("acquire_lock", {"targets": ["src/mine.py"]})
        denied = await agent.call_tool("agent_stop", {"all": True})
        unknown = await nobody.call_tool("agent_list", {})

    locks = json.loads(here.ok("lock", "ls", "--json").out)["locks"]
    holder = next(lock["holder"] for lock in locks if lock["target"] == "src/mine.py")
    assert not mine.is_error
    assert "otter" in json.dumps(holder)
    assert problem(denied)["code"] == "denied"
    assert "the key is unknown" in problem(unknown)["message"]


def _key_of(here: Host, agent: str) -> str:
    """From the environment of the processes that are its assistant."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            env = process.environ()
            if env.get("ENVMGR_STATE_DIR") == str(here.state) and env.get("ENVMGR_AGENT_KEY"):
                return env["ENVMGR_AGENT_KEY"]
    raise AssertionError(f"no process of {agent} has a key")


# --- over HTTP ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def mounted(here: Host, tools: str = "", **headers: str) -> AsyncIterator[Client]:
    """The official client of `/mcp`."""
    transport = httpx2.AsyncHTTPTransport(uds=str(here.state / "daemon.sock"))
    async with httpx2.AsyncClient(transport=transport, timeout=60, headers=headers) as http:
        url = f"http://localhost/mcp{tools}"
        async with Client(streamable_http_client(url, http_client=http)) as client:
            yield client


@proves("MCP-001", "MCP-002", "MCP-007")
async def test_the_daemon_offers_the_same_over_http_without_a_session(here: Host) -> None:
    key = _key_of(here, "otter")
    async with mounted(here) as client, mounted(here, **{"X-API-Key": key}) as agent:
        compact = {tool.name for tool in (await client.list_tools()).tools}
        said = {"targets": ["src/http.py"], "reason": None, "agent_id": "as others say who they are"}
        mine = await agent.call_tool("acquire_lock", said)
        theirs = await client.call_tool("acquire_lock", {"targets": ["src/http.py"]})
        wrong = await client.call_tool("acquire_lock", {"targets": 3})
    async with mounted(here, "?tools=all") as client:
        everything = {tool.name for tool in (await client.list_tools()).tools}

    assert compact < everything == {op.tool for op in offered()}
    assert mine.structured_content["ok"]
    assert theirs.structured_content["reason"] == "locked_by_other"
    assert "targets must be a list" in problem(wrong)["message"]


@proves("MCP-005")
async def test_a_wait_over_http_ends_with_its_caller(here: Host) -> None:
    async with piped(here) as other:
        await _give_away(other, "otter")
        async with mounted(here) as client, anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "acquire_lock", {"targets": ["src/busy.py"], "wait_s": 600})
            await async_eventually(lambda: _somebody_waits(other), within_s=20)
            group.cancel_scope.cancel()
        await async_eventually(lambda: _nobody_waits(other), within_s=20)


@pytest.fixture
def doomed() -> Iterator[Host]:
    """One whose daemon may die."""
    with host() as made:
        made.sleeper()
        made.ok("spawn", "--template", "sleeper", "--name", "otter")
        yield made


@proves("MCP-006")
async def test_a_daemon_that_dies_in_the_middle_is_told_and_started_again(doomed: Host) -> None:
    pid = doomed.daemon_pid()
    assert pid is not None
    answers: list[Any] = []
    async with piped(doomed) as client:
        await _give_away(client, "otter")

        async def wait() -> None:
            answers.append(await client.call_tool("acquire_lock", {"targets": ["src/busy.py"], "wait_s": 60}))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await async_eventually(lambda: _somebody_waits(client), within_s=20)
            os.kill(pid, signal.SIGKILL)
        await async_eventually(lambda: not psutil.pid_exists(pid))
        again = await client.call_tool("agent_list", {})

    assert problem(answers[0])["code"] == "unavailable"
    assert problem(answers[0])["retryable"]
    assert not again.is_error, text(again)
    assert again.structured_content["agents"][0]["name"] == "otter"


async def _give_away(client: Client, agent: str) -> None:
    """A lock that others wait for."""
    await client.call_tool("acquire_lock", {"targets": ["src/busy.py"]})
    await client.call_tool("transfer_lock", {"targets": ["src/busy.py"], "to_agent": agent})


async def _waiting(client: Client) -> int:
    why = await client.call_tool("why_lock", {"target": "src/busy.py"})
    return len(why.structured_content["waiting"])


async def _somebody_waits(client: Client) -> bool:
    return await _waiting(client) == 1


async def _nobody_waits(client: Client) -> bool:
    return await _waiting(client) == 0
