"""Who is let in over HTTP, what of a request is read, and that everything else is a problem document."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from envmgr.app.context import App
from envmgr.app.registry import OPERATIONS
from envmgr.app.sayable import refuse_unsayable
from envmgr.config.settings import Settings, load
from envmgr.config.source import TemplateFiles
from envmgr.drivers.docker import DockerEngine
from envmgr.errors import BudgetExhausted, ConfigError, Invalid, NoSuchRoute, WrongMethod
from envmgr.interfaces.http.access import Rates
from envmgr.interfaces.http.routes import Routes
from envmgr.interfaces.http.server import application
from envmgr.model.door import DoorPolicy
from envmgr.model.ids import InstanceId
from envmgr.model.principal import Principal, PrincipalKind
from tests.support.requirements import proves

# Any throughout: JSON documents.

PAGE = "https://board.example.org"
LIVE = "/api/v1/live"
STOP = "/api/v1/agents/stop"


@pytest.fixture
def app(tmp_path: Path) -> App:
    """One without a daemon's supervisor."""
    return App(
        state_dir=tmp_path,
        worktree_root=tmp_path,
        version="1",
        templates=TemplateFiles(Settings()),
        engine=DockerEngine(instance=InstanceId("test")),
        door=DoorPolicy(names=frozenset({"envmgr.example.org"}), origins=frozenset({PAGE}), body_bytes=1000),
    )


async def call(
    app: App, path: str, *, method: str = "GET", is_tcp: bool = False, **more: Any
) -> httpx.Response:
    transport = httpx.ASGITransport(app=application(app, is_tcp=is_tcp))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8750") as client:
        return await client.request(method, path, **more)


# --- Host and Origin ---------------------------------------------------------------------------------------------


@proves("HTTP-003", "R-41")
@pytest.mark.anyio
@pytest.mark.parametrize("is_tcp", [True, False])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8750", 200),
        ("127.0.0.1:8750", 200),
        ("[::1]:8750", 200),
        ("envmgr.example.org", 200),
        ("evil.example.com", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("192.168.1.5:8750", 403),
        ("localhost, evil.example.com", 403),
        ("", 403),
    ],
)
async def test_a_host_that_is_not_ours_is_refused(app: App, host: str, status: int, *, is_tcp: bool) -> None:
    answer = await call(app, LIVE, is_tcp=is_tcp, headers={"host": host})

    assert answer.status_code == status


@proves("HTTP-003", "R-41")
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (PAGE, 200),
        ("http://localhost:8750", 200),  # a page of the daemon's own
        ("http://localhost:3000", 403),  # an agent's web service
        ("https://evil.example.com", 403),
        ("null", 403),
    ],
)
async def test_pages_of_elsewhere_are_refused(app: App, origin: str, status: int) -> None:
    answer = await call(app, LIVE, headers={"origin": origin})

    assert answer.status_code == status
    assert answer.headers.get("access-control-allow-origin") == (PAGE if origin == PAGE else None)


@proves("HTTP-003")
@pytest.mark.anyio
async def test_a_browser_may_ask_beforehand_for_pages_that_are_configured_only(app: App) -> None:
    asked = {"access-control-request-method": "POST"}
    welcome = await call(app, STOP, method="OPTIONS", is_tcp=True, headers={"origin": PAGE, **asked})
    other = await call(app, STOP, method="OPTIONS", is_tcp=True, headers={"origin": "https://x.org", **asked})

    assert (welcome.status_code, welcome.content) == (204, b"")
    assert "x-api-key" in welcome.headers["access-control-allow-headers"]
    assert other.status_code == 403


# --- keys --------------------------------------------------------------------------------------------------------


@proves("HTTP-002")
@pytest.mark.anyio
async def test_on_tcp_only_signs_of_life_and_help_need_no_key(app: App) -> None:
    open_ones = [op.route for op in OPERATIONS.values() if op.is_open]
    refused = await call(app, "/api/v1/agents", is_tcp=True)
    document = await call(app, "/api/v1/openapi.json", is_tcp=True)

    assert sorted(open_ones) == [("GET", f"/api/v1/{name}") for name in ("health", "help", "live", "ready")]
    assert (await call(app, LIVE, is_tcp=True)).status_code == 200
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json()["code"] == "denied.key"
    assert document.status_code == 401


# --- what is read ------------------------------------------------------------------------------------------------


@proves("HTTP-004")
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/", {}, 404),
        ("GET", "/api/v1/nothing", {}, 404),
        ("GET", "/api/v1/agents/", {}, 404),
        ("PUT", "/api/v1/agents", {}, 405),
        ("GET", STOP.replace("stop", "a/stop"), {}, 404),
        ("POST", STOP, {"content": b"x" * 1001}, 413),
        ("POST", STOP, {"content": b"agents=a", "headers": {"content-type": "text/plain"}}, 415),
        ("POST", STOP, {"data": {"agents": "a"}}, 415),
        ("POST", STOP, {"content": b"{"}, 400),
        ("POST", STOP, {"content": b"[" * 999}, 400),
        ("POST", STOP, {"content": b'{"agents": NaN}'}, 400),
        ("POST", STOP, {"content": b"\xff\xfe{}"}, 400),
        ("POST", STOP, {"content": b'"agents"'}, 400),
        ("POST", STOP, {"content": b'{"agents": ["a\\u0000"]}'}, 422),
        ("POST", STOP, {"content": b'{"agents": ["\\ud800"]}'}, 422),
        ("POST", STOP, {"json": {"agents": 7}}, 422),
        ("POST", "/api/v1/locks/release", {"json": {"token": 2**63}}, 422),
        ("DELETE", f"/api/v1/locks/a?token={2**63}", {}, 422),
        ("GET", f"/api/v1/locks?tokens=1&tokens={2**70}", {}, 422),
        ("POST", STOP, {"json": {"colour": "red"}}, 422),
        ("GET", "/api/v1/agents/%00", {}, 422),
        ("GET", "/api/v1/agents?colour=red", {}, 422),
    ],
)
async def test_what_makes_no_sense_is_a_problem_document_with_the_requests_id(
    app: App, method: str, path: str, more: dict[str, Any], status: int
) -> None:
    answer = await call(app, path, method=method, **more)

    problem = answer.json()
    assert answer.status_code == status, problem
    assert set(problem) == {"code", "message", "hint", "retryable", "details", "request"}
    assert problem["hint"]
    assert problem["request"] == answer.headers["x-request-id"] != ""


@proves("HTTP-004")
@pytest.mark.anyio
async def test_a_body_of_unknown_length_is_read_no_further_than_the_limit(app: App) -> None:
    given = 0

    async def endless() -> Any:
        nonlocal given
        while True:
            given += 1
            yield b"x" * 100

    # The transport in the process collects a body first, so this asks the application itself.
    pieces = endless()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(pieces), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    head = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": STOP, "query_string": b"", "headers": head}
    await application(app)(scope, receive, send)

    assert sent[0]["status"] == 413
    assert given <= 11


@proves("HTTP-004")
@pytest.mark.anyio
async def test_a_requests_id_is_echoed_if_it_is_one(app: App) -> None:
    own = await call(app, LIVE, headers={"x-request-id": "build-17/3"})
    odd = await call(app, LIVE, headers={"x-request-id": "a b"})

    assert own.headers["x-request-id"] == "build-17/3"
    assert len(odd.headers["x-request-id"]) == 16


@proves("HTTP-004")
@pytest.mark.anyio
async def test_a_wrong_method_says_which_are_right_and_head_is_get_without_a_body(app: App) -> None:
    wrong = await call(app, "/api/v1/agents", method="DELETE")
    head = await call(app, LIVE, method="HEAD")

    assert wrong.headers["allow"] == "GET, POST"
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len((await call(app, LIVE)).content))


# --- routes ------------------------------------------------------------------------------------------------------


@proves("OPS-002")
def test_a_literal_segment_wins_over_a_placeholder_and_values_are_decoded() -> None:
    show, stop, why = (OPERATIONS[name] for name in ("agent.show", "agent.stop", "agent.why"))
    routes = Routes([("GET", "/a/{x}", show), ("GET", "/a/stop", stop), ("GET", "/a/{x}/why", why)])

    assert routes.find("GET", "/a/stop").op is stop
    assert routes.find("GET", "/a/src%2Fapp%20.py").values == {"x": "src/app .py"}
    assert routes.find("GET", "/a/stop/why").values == {"x": "stop"}
    with pytest.raises(NoSuchRoute):
        routes.find("GET", "/a//why")
    with pytest.raises(WrongMethod, match="POST is not offered"):
        routes.find("POST", "/a/b/why")


# --- rates -------------------------------------------------------------------------------------------------------


def _program(name: str) -> Principal:
    return Principal(kind=PrincipalKind.PROGRAM, name=name)


@proves("HTTP-005")
def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not() -> None:
    now = 0.0
    rates = Rates(DoorPolicy(per_s=10), clock=lambda: now)
    busy = _program("busy")

    for _ in range(20):
        with rates.counted(busy):
            pass
    with pytest.raises(BudgetExhausted) as refused, rates.counted(busy):
        pass
    with rates.counted(_program("other")):
        pass

    assert refused.value.details == {"retry_after_s": 0.1}
    now = 0.11
    with rates.counted(busy):
        pass


@proves("HTTP-005")
def test_a_key_has_so_many_requests_under_way_and_the_owner_of_the_socket_any_number() -> None:
    rates = Rates(DoorPolicy(at_once=1, per_s=0))
    owner = Principal(kind=PrincipalKind.PERSON, name="ada")

    with rates.counted(_program("busy")):
        with pytest.raises(BudgetExhausted), rates.counted(_program("busy")):
            pass
        with rates.counted(owner), rates.counted(owner):
            pass
    with rates.counted(_program("busy")):
        pass


@proves("HTTP-005")
@pytest.mark.anyio
async def test_a_budget_that_is_used_up_is_429_with_the_time_to_wait(app: App) -> None:
    rates = Rates(DoorPolicy(at_once=0))
    transport = httpx.ASGITransport(app=application(app, is_tcp=True, rates=rates))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get(LIVE)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert json.loads(answer.content)["retryable"] is True


# --- settings ----------------------------------------------------------------------------------------------------


@proves("HTTP-001")
@pytest.mark.parametrize(
    ("listen", "more", "trouble"),
    [
        ("127.0.0.1:8750", {}, ""),
        ("[::1]:8750", {}, ""),
        ("0.0.0.0:8750", {"ENVMGR_HTTP__ALLOW_REMOTE": "true"}, ""),
        ("0.0.0.0:8750", {}, "other machines reach 0.0.0.0; say allow_remote = true if that is meant"),
        ("192.168.1.5:8750", {}, "other machines reach 192.168.1.5"),
        ("8750", {}, "'8750' is not HOST:PORT"),
        ("127.0.0.1:99999", {}, "is not HOST:PORT"),
        ("localhost:8750", {}, "'localhost' is not an address"),
    ],
)
def test_an_address_that_others_reach_needs_a_second_yes(
    listen: str, more: dict[str, str], trouble: str, tmp_path: Path
) -> None:
    environment = {"HOME": str(tmp_path), "ENVMGR_HTTP__LISTEN": listen, **more}

    if trouble:
        with pytest.raises(ConfigError, match=re.escape(trouble)):
            load(environment, system=tmp_path / "none.toml")
    else:
        assert load(environment, system=tmp_path / "none.toml").settings.http.listen == listen


@proves("HTTP-003")
@pytest.mark.anyio
async def test_where_other_machines_may_come_any_address_is_a_host_but_no_name(app: App) -> None:
    app.door = DoorPolicy(is_remote=True)

    assert (await call(app, LIVE, headers={"host": "192.168.1.5:8750"})).status_code == 200
    assert (await call(app, LIVE, headers={"host": "evil.example.com"})).status_code == 403


@proves("HTTP-004")
def test_an_environment_may_hold_bytes_that_are_no_text_and_nothing_else_may() -> None:
    latin = {"NAME": b"\xe9".decode("utf-8", "surrogateescape")}

    refuse_unsayable({"environment": latin})
    with pytest.raises(Invalid):
        refuse_unsayable({"cwd": latin["NAME"]})
    with pytest.raises(Invalid):
        refuse_unsayable({"environment": {"NAME": "a\0"}})
