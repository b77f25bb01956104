"""The HTTP interface of a real daemon, at both of its doors, as programs use it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from envmgr.clients import Client
from envmgr.errors import Denied, NotFound, Unauthenticated
from tests.support.api import Api, api
from tests.support.host import host
from tests.support.requirements import proves
from tests.support.wait import eventually

# Any throughout: JSON documents.


@pytest.fixture(scope="module")
def served() -> Iterator[Api]:
    with api() as found:
        yield found


@pytest.fixture(scope="module")
def key(served: Api) -> str:
    return served.key("program")


def ask(served: Api, method: str, path: str, *, key: str = "", **more: Any) -> httpx.Response:
    headers = {"x-api-key": key} if key else {}
    return httpx.request(method, f"{served.url}/api/v1{path}", headers=headers, timeout=20, **more)


@proves("SESS-001")
def test_a_call_that_names_its_session_is_a_sign_of_life_of_that_one(served: Api, key: str) -> None:
    repo = str(served.here.repo)
    for name in ("first", "second"):
        assert ask(served, "POST", "/sessions", key=key, json={"session_id": name, "repo": repo}).is_success

    fields = {"file_path": "src/alive.py", "session_id": "first", "repo": repo}
    assert ask(served, "POST", "/locks/acquire", key=key, json=fields).is_success

    found = ask(served, "GET", "/sessions", key=key, params={"repo": repo}).json()["agents"]
    seen = {one["session_id"]: one["last_heartbeat"] for one in found}
    assert seen["first"] > seen["second"]


# --- doors and keys ----------------------------------------------------------------------------------------------


@proves("HTTP-001", "HTTP-011")
def test_without_the_setting_there_is_no_door_but_the_socket_and_the_bridge_opens_none() -> None:
    with host() as here:
        before = here.run("bridge", "detect").out
        assert not (here.state / "daemon.sock").exists()
        health = here.ok("daemon", "health", "--json").json

        assert before.startswith("COORDINATOR_AVAILABLE=false\n")
        assert listening(here.daemon_pid()) == []
        assert [part["part"] for part in health["parts"] if not part["ok"]] == []


def listening(pid: int | None) -> list[str]:
    """Addresses of TCP on which a process listens."""
    import psutil

    return [str(c.laddr) for c in psutil.Process(pid).net_connections("tcp") if c.status == "LISTEN"]


@proves("HTTP-001")
def test_a_port_that_somebody_else_has_keeps_the_daemon_from_nothing_else() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with host(ENVMGR_HTTP__LISTEN=where) as here:
            health = here.run("daemon", "health", "--json")

            wrong = [part for part in health.json["parts"] if not part["ok"]]
            assert wrong == [{"part": "http", "ok": False, "found": f"cannot listen on {where}"}]
            assert (health.code, health.json["status"]) == (1, "degraded")
            assert here.ok("daemon", "ready").out == "ok\n"


@proves("HTTP-002")
def test_a_key_is_good_for_its_scopes_until_it_is_revoked(served: Api) -> None:
    key = served.key("reader", scopes="read")
    bearer = httpx.get(f"{served.url}/api/v1/me", headers={"authorization": f"Bearer {key}"})
    lacking = ask(served, "POST", "/locks/acquire", key=key, json={"targets": ["a"]})
    served.here.ok("key", "revoke", "reader")
    revoked = ask(served, "GET", "/me", key=key)

    assert bearer.json()["name"] == "reader"
    assert (lacking.status_code, lacking.json()["details"]["scope"]) == (403, "locks")
    assert (revoked.status_code, revoked.json()["code"]) == (401, "denied.key")


@proves("HTTP-002")
@pytest.mark.parametrize("wrong", ["", "emk_wrong", "emk_" + "x" * 5000])
def test_a_wrong_key_is_refused_at_the_socket_too(served: Api, wrong: str) -> None:
    transport = httpx.HTTPTransport(uds=served.socket.removeprefix("unix:"))
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        owner = client.get("/api/v1/me")
        refused = client.get("/api/v1/me", headers={"x-api-key": wrong})
        other = client.get("/api/v1/me", headers={"authorization": "Basic YTpi"})

    assert owner.json()["kind"] == "person"
    assert (refused.status_code, other.status_code) == (401, 401)


# --- many, and leaving ones --------------------------------------------------------------------------------------


@proves("HTTP-006")
def test_sixty_four_clients_at_once_are_all_answered(served: Api, key: str) -> None:
    repo = str(served.here.repo)
    start = threading.Barrier(64)

    def run(number: int) -> list[bool]:
        with Client(served.url, key=key) as client:
            start.wait(timeout=30)
            done = []
            for turn in range(5):
                target = f"db:t{number}_{turn}"
                done.append(client.acquire_lock(targets=[target], repo=repo)["ok"])
                done.append(client.release_lock(targets=[target], repo=repo)["ok"])
            return done

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(run, range(64)))

    assert [each for each in answers if each != [True] * 10] == []


@proves("HTTP-006")
def test_a_client_that_leaves_while_it_waits_gets_nothing_later(served: Api, key: str) -> None:
    other, repo = served.key("patient"), str(served.here.repo)
    with Client(served.url, key=key) as holder, Client(served.url, key=other) as waiter:
        holder.acquire_lock(targets=["db:queue"], repo=repo)
        asked = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=20)
        body = json.dumps({"targets": ["db:queue"], "repo": repo, "wait_s": 600})
        head = {"x-api-key": other, "content-type": "application/json"}
        asked.request("POST", "/api/v1/locks/acquire", body=body, headers=head)
        eventually(lambda: len(holder.check_locks(repo=repo)["waiting"]) == 1, within_s=10)

        asked.close()

        eventually(lambda: holder.check_locks(repo=repo)["waiting"] == [], within_s=10)
        holder.release_lock(targets=["db:queue"], repo=repo)
        assert waiter.check_locks(repo=repo, mine=True)["locks"] == []


# --- aliases -----------------------------------------------------------------------------------------------------


@proves("HTTP-008")
def test_clients_of_the_agent_coordinator_find_their_paths_and_fields(served: Api, key: str) -> None:
    who = {"agent_id": "claude-1", "agent_type": "claude_code", "session_id": "s-1"}
    here = {"repo": str(served.here.repo)}

    def post(path: str, **fields: Any) -> Any:
        answer = ask(served, "POST", path, key=key, json=fields | here)
        assert answer.status_code == 200, answer.text
        return answer.json()

    lock = post("/locks/acquire", file_path="src/app.py", reason="edit", ttl_minutes=30, **who)
    seen = ask(served, "GET", "/locks/src%2Fapp.py", key=key, params=here).json()
    freed = ask(served, "DELETE", "/locks/src%2Fapp.py", key=key, params=here).json()
    task = post(
        "/work/submit", task_type="test", task_description="run them", input_data={"n": 1}, priority=3
    )
    claimed = post("/work/claim", task_types=["test"], agent_id="claude-1", agent_type="claude_code")
    done = post(
        "/work/complete", task_id=task["task_id"], agent_id="claude-1", success=True, result={"ok": 1}
    )
    stored = post("/memory/store", event_type="discovery", summary="the moon is round", agent_id="claude-1")
    post("/handoffs/write", summary="half done", completed_work=["a"], relevant_files=["src/app.py"], **who)
    latest = ask(served, "GET", "/handoffs/latest", key=key, params=here).json()
    post("/agents/register", capabilities=["python"], **who)
    found = ask(served, "GET", "/discovery/agents", key=key, params=here).json()

    assert (lock["success"], lock["action"], lock["file_path"]) == (True, "acquired", "src/app.py")
    assert (seen["locks"][0]["file_path"], freed["action"]) == ("src/app.py", "released")
    assert claimed["task_id"] == task["task_id"]
    assert done["success"] is True
    assert stored["memory_id"]
    assert latest["handoffs"][0]["summary"] == "half done"
    assert found["agents"]


@proves("HTTP-008")
def test_requests_are_understood_as_the_bridge_of_the_agent_coordinator_sends_them(
    served: Api, key: str
) -> None:
    """With null for what it has not, and who it is in each body."""
    who = {"agent_id": "claude-1", "session_id": None}
    here = {"repo": str(served.here.repo)}

    def post(path: str, **fields: Any) -> Any:
        answer = ask(served, "POST", path, key=key, json=fields | here)
        assert answer.status_code == 200, answer.text
        return answer.json()

    lock = post(
        "/locks/acquire", file_path="src/b.py", agent_type="claude_code", reason=None, ttl_minutes=30, **who
    )
    freed = post("/locks/release", file_path="src/b.py", agent_id="claude-1")
    again = post("/locks/release", file_path="src/b.py", agent_id="claude-1")
    task = post(
        "/work/submit", task_type="bridge", task_description="x", input_data=None, priority=5, depends_on=None
    )
    post("/work/claim", agent_id="claude-1", agent_type="claude_code", task_types=["bridge"])
    done = post(
        "/work/complete", task_id=task["task_id"], agent_id="claude-1", success=True, result=None, error_message=None
    )  # fmt: skip
    known = post("/work/get", task_id=task["task_id"])
    post("/handoffs/write", summary="by the bridge", completed_work=["a"], relevant_files=["b.py"], **who)
    (left,) = post("/handoffs/read", limit=1, **who)["handoffs"]
    post(
        "/memory/store", event_type="error", summary="bridges burn", details=None, outcome=None, lessons=None,
        tags=["bridge"], **who,
    )  # fmt: skip
    asked = {"agent_id": "claude-1", "tags": ["bridge"], "limit": 10}
    (found,) = post("/memory/query", event_type="error", **asked)["memories"]
    others = post("/memory/query", event_type="success", **asked)["memories"]

    assert (lock["action"], freed["action"], again["success"]) == ("acquired", "released", False)
    assert again["reason"] == "lock_not_found_or_not_owner"
    assert (done["success"], known["status"]) == (True, "done")
    assert (left["agent_name"], left["completed_work"], left["relevant_files"]) == (
        "program",
        ["a"],
        ["b.py"],
    )
    assert (found["id"], found["relevance_score"], others) == (found["memory_id"], 1.0, [])


@proves("HTTP-012")
def test_a_program_need_not_name_the_repository_of_a_task_that_it_names(served: Api, key: str) -> None:
    here = {"repo": str(served.here.repo)}
    task = ask(
        served, "POST", "/tasks", key=key, json={"description": "from afar", "task_type": "afar", **here}
    ).json()
    asked = {"task_types": ["afar"], **here}
    claimed = ask(served, "POST", "/tasks/claim", key=key, json=asked).json()

    shown = ask(served, "GET", f"/tasks/{task['task_id']}", key=key)
    done = ask(
        served,
        "POST",
        f"/tasks/{task['task_id']}/complete",
        key=key,
        json={"lease_token": claimed["lease_token"]},
    )

    assert shown.json()["repo"] == here["repo"]
    assert done.json()["success"] is True, done.text


# --- the client --------------------------------------------------------------------------------------------------


@proves("HTTP-009")
@pytest.mark.parametrize("door", ["url", "socket"])
def test_the_python_client_calls_reads_streams_and_raises_at_both_doors(
    served: Api, key: str, door: str
) -> None:
    with Client(getattr(served, door), key=key) as client:
        lock = client.acquire_lock(targets=[f"db:{door}"], repo=str(served.here.repo), reason="a test")
        client.submit_work(description="so that something happens", repo=str(served.here.repo))
        events = client.events(follow=True)
        first = next(events)
        events.close()

        assert (lock["ok"], lock["locks"][0]["target"]) == (True, f"db:{door}")
        assert first["seq"] >= 1
        with pytest.raises(NotFound, match="nobody"):
            client.agent_show(agent="nobody")
        with pytest.raises(Denied):
            client.key_list()
    with Client(getattr(served, door), key="wrong", retries=0) as stranger, pytest.raises(Unauthenticated):
        stranger.whoami()


@proves("HTTP-009")
def test_the_python_client_finds_the_socket_where_envmgr_has_it(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVMGR_STATE_DIR", str(served.here.state))
    with Client() as client:
        assert client.whoami()["kind"] == "person"


# --- the bridge --------------------------------------------------------------------------------------------------


@proves("HTTP-011")
def test_the_bridge_tells_what_may_be_done_and_does_it(served: Api) -> None:
    key = served.key("script", scopes="read,locks,memory")
    env = {"COORDINATION_API_URL": served.url, "COORDINATION_API_KEY": key}
    run = served.here.run
    found = run("bridge", "detect", env=env).out.splitlines()
    lock = run("bridge", "lock", "file_path=src/x.py", "--json", env=env).json
    refused = run("bridge", "submit", "description=x", env=env)
    nothing = run("bridge", "guardrails", "operation_text=rm", env=env)

    assert found == [
        "COORDINATOR_AVAILABLE=true", "COORDINATION_TRANSPORT=http", "CAN_LOCK=true", "CAN_QUEUE_WORK=false",
        "CAN_HANDOFF=false", "CAN_MEMORY=true", "CAN_GUARDRAILS=false", "CAN_DISCOVER=false", "CAN_AUDIT=false",
        "CAN_POLICY=false",
    ]  # fmt: skip
    assert (lock["status"], lock["response"]["action"]) == ("ok", "acquired")
    assert (refused.code, refused.out) == (0, "submit: skipped (unauthorized)\n")
    assert (nothing.code, nothing.out) == (0, "guardrails: skipped (capability_unavailable)\n")


@proves("HTTP-011")
@pytest.mark.parametrize("name", ["COORDINATION_API_URL", "AGENT_COORDINATOR_HTTP_URL"])
def test_the_bridge_takes_the_address_that_scripts_of_the_agent_coordinator_need(
    served: Api, key: str, name: str
) -> None:
    env = {name: f"{served.url}/api/v1", "COORDINATION_API_KEY": key, "ENVMGR_STATE_DIR": "/nowhere"}

    found = served.here.run("bridge", "detect", env=env).out.splitlines()

    assert found[:3] == ["COORDINATOR_AVAILABLE=true", "COORDINATION_TRANSPORT=http", "CAN_LOCK=true"]


@proves("HTTP-011")
def test_the_bridge_is_at_the_socket_when_no_address_is_given_and_an_agent_has_tools(served: Api) -> None:
    person = served.here.run("bridge", "detect", "--json").json
    agent = served.here.run("bridge", "detect", "--json", env={"ENVMGR_AGENT_KEY": served.key("agent")}).json

    assert (person["COORDINATION_TRANSPORT"], person["CAN_AUDIT"]) == ("http", True)
    assert (agent["COORDINATION_TRANSPORT"], agent["status"]) == ("mcp", "ok")


@proves("HTTP-011")
@pytest.mark.parametrize("listens", [True, False])
def test_without_a_coordinator_the_bridge_says_so_and_ends_well(served: Api, *, listens: bool) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        if listens:  # and never answers
            mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        env = {"COORDINATION_API_URL": url, "COORDINATION_HTTP_TIMEOUT": "0.3"}
        found = served.here.run("bridge", "detect", env=env)
        hook = served.here.run("bridge", "remember", "summary=x", "event_type=y", env=env)
        odd = served.here.run("bridge", "dance", env={"COORDINATION_API_URL": "gopher://x"})

    assert (found.code, hook.code, odd.code) == (0, 0, 0)
    assert found.out.startswith("COORDINATOR_AVAILABLE=false\nCOORDINATION_TRANSPORT=none\nCAN_LOCK=false\n")
    assert hook.out.startswith("remember: skipped (")
