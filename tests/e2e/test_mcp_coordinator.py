"""What was written for the Agent Coordinator works unchanged: its tools, its arguments, the fields it looks at."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.client.client import Client

from tests.support.faces import piped
from tests.support.host import Host, host
from tests.support.requirements import proves

# Any throughout: JSON documents.
pytestmark = pytest.mark.anyio


@pytest.fixture
def here() -> Any:
    with host() as made:
        made.ok("daemon", "start")
        yield made


async def _call(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


@proves("MCP-010")
async def test_calls_of_agents_that_know_the_agent_coordinator_are_understood(here: Host) -> None:
    async with piped(here, "--tools", "compact") as client:
        lock = await _call(
            client, "acquire_lock", file_path="src/main.py", reason="refactoring", ttl_minutes=30
        )
        locks = await _call(client, "check_locks", file_paths=["src/main.py"])
        freed = await _call(client, "release_lock", file_path="src/main.py")

        task = await _call(
            client, "submit_work", task_type="refactor", description="Tidy up", input_data={"files": ["a.py"]}, priority=3,
            depends_on=[],
        )  # fmt: skip
        work = await _call(client, "get_work", task_types=["refactor"])
        done = await _call(
            client, "complete_work", task_id=work["task_id"], success=True, result={"lines": 3}
        )
        nothing = await _call(client, "get_work", task_types=["refactor"])

        session = await _call(client, "register_session", capabilities=["coding"], current_task="tidying")
        alive = await _call(client, "heartbeat")
        agents = await _call(client, "discover_agents", capability="coding", status="active")
        handoff = await _call(
            client, "write_handoff", summary="Half done", completed_work=["a"], in_progress=["b"], decisions=["c"],
            next_steps=["d"], relevant_files=["a.py"],
        )  # fmt: skip
        read = await _call(client, "read_handoff", limit=1)

        learned = await _call(
            client, "remember", event_type="discovery", summary="a.py is generated", details={"by": "make"}, outcome="positive",
            lessons=["edit the template"], tags=["build"],
        )  # fmt: skip
        recalled = await _call(client, "recall", tags=["build"], limit=5)
        audit = await _call(client, "query_audit", operation="acquire_lock", limit=5)

    assert (lock["success"], lock["action"], lock["file_path"]) == (True, "acquired", "src/main.py")
    assert lock["expires_at"]
    assert [(one["file_path"], bool(one["locked_by"])) for one in locks["locks"]] == [("src/main.py", True)]
    assert (freed["success"], freed["action"]) == (True, "released")
    assert task["success"]
    assert (work["success"], work["task_id"], work["description"]) == (True, task["task_id"], "Tidy up")
    assert work["input_data"] == {"files": ["a.py"]}
    assert (done["success"], done["task_id"]) == (True, task["task_id"])
    assert nothing["success"] is False
    assert session["success"]
    assert (alive["success"], alive["session_id"]) == (True, session["session_id"])
    assert session["session_id"] in [one["session_id"] for one in agents["agents"]]
    assert handoff["success"]
    first = read["handoffs"][0]
    assert (first["summary"], first["next_steps"]) == ("Half done", ["d"])
    assert learned["success"]
    assert recalled["memories"][0]["summary"] == "a.py is generated"
    assert audit["entries"]
