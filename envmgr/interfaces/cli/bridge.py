"""`envmgr bridge`: coordination for scripts of skills, where there may be none.

Best effort in everything: nothing here starts a daemon, takes longer than a moment, or ends with another status than 0.
Variables and words are those that skills for the Agent Coordinator know.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from envmgr.errors import Denied, EnvmgrError, NoSuchRoute, Unavailable

# Any throughout: JSON values.

_URLS = (
    "ENVMGR_URL", "COORDINATION_API_URL", "COORDINATOR_HTTP_URL", "AGENT_COORDINATOR_API_URL", "AGENT_COORDINATOR_HTTP_URL",
)  # fmt: skip
_BELOW = "/api/v1"
"""Clients of the Agent Coordinator know no such beginning of its paths, so it may stand in the address that is for them."""
_KEYS = ("ENVMGR_AGENT_KEY", "COORDINATION_API_KEY", "COORDINATOR_API_KEY")
_DEADLINE = "COORDINATION_HTTP_TIMEOUT"
_DEADLINE_S = 1.5
_SCOPES = {
    "CAN_LOCK": "locks",
    "CAN_QUEUE_WORK": "work",
    "CAN_HANDOFF": "handoffs",
    "CAN_MEMORY": "memory",
    "CAN_GUARDRAILS": "",
    "CAN_DISCOVER": "sessions",
    "CAN_AUDIT": "audit",
    "CAN_POLICY": "",
}
"""What each needs; nothing stands for what this envmgr does not have."""
HOOKS = {
    "lock": ("CAN_LOCK", "lock.acquire"),
    "unlock": ("CAN_LOCK", "lock.release"),
    "locks": ("CAN_LOCK", "lock.list"),
    "submit": ("CAN_QUEUE_WORK", "task.submit"),
    "claim": ("CAN_QUEUE_WORK", "task.claim"),
    "complete": ("CAN_QUEUE_WORK", "task.complete"),
    "handoff": ("CAN_HANDOFF", "handoff.write"),
    "read-handoff": ("CAN_HANDOFF", "handoff.read"),
    "remember": ("CAN_MEMORY", "memory.remember"),
    "recall": ("CAN_MEMORY", "memory.recall"),
    "register": ("CAN_DISCOVER", "session.register"),
    "heartbeat": ("CAN_DISCOVER", "session.heartbeat"),
    "discover": ("CAN_DISCOVER", "session.discover"),
    "audit": ("CAN_AUDIT", "audit.query"),
    "guardrails": ("CAN_GUARDRAILS", "guardrails.check"),
}
"""Each with what it needs, and the operation that it is."""


def command() -> click.Command:
    """`envmgr bridge WHAT [FIELD=VALUE]...`."""
    params = [
        click.Argument(["what"], metavar="detect|HOOK"),
        click.Argument(["fields"], nargs=-1, metavar="[FIELD=VALUE]..."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON"),
    ]
    hooks = ", ".join(HOOKS)
    return click.Command(
        "bridge",
        callback=_call,
        params=params,
        help="Coordinate from a script that must also work where no coordinator is: the status is always 0.\n\n"
        "`detect` prints what there is as shell variables. A hook asks for one thing, with the fields of its operation; "
        f"a value that is JSON is taken as such. Hooks: {hooks}.",
        short_help="Coordinate from scripts of skills, best effort.",
    )


def _call(what: str, fields: Sequence[str], as_json: bool) -> None:  # noqa: FBT001 - click's form
    try:
        found = _within(_deadline_s(), lambda: _done(what, fields)) or _state(reason="deadline")
    except Exception as error:  # noqa: BLE001 - a script of a skill goes on, whatever happens here
        found = _state(reason=f"{type(error).__name__}: {error}")
    if as_json:
        print(json.dumps(found))
    elif what == "detect":
        names = ("COORDINATOR_AVAILABLE", "COORDINATION_TRANSPORT", *_SCOPES)
        print("\n".join(f"{name}={_shell(found[name])}" for name in names))
    else:
        print(_told(what, found))
    sys.stdout.flush()
    os._exit(0)  # a connection that hangs is not waited for


def _done(what: str, fields: Sequence[str]) -> dict[str, Any]:
    with _client() as client:
        return detect(client) if what == "detect" else hook(client, what, fields)


def _client() -> Any:
    from envmgr.clients import Client  # its types take a while, and this must end in any case

    said = os.environ
    url = next((said[name].strip() for name in _URLS if said.get(name, "").strip()), "")
    key = next((said[name].strip() for name in _KEYS if said.get(name, "").strip()), "")
    return Client(url.rstrip("/").removesuffix(_BELOW), key=key, timeout_s=_deadline_s(), retries=0)


def detect(client: Any) -> dict[str, Any]:
    """What there is, and what may be done with it."""
    try:
        client.call("GET", "/api/v1/live", {})
    except EnvmgrError as error:
        return _state(reason=error.message)
    try:
        scopes = client.call("GET", "/api/v1/me", {})["scopes"]
    except Denied:
        return _state(is_there=True, reason="unauthorized")
    except EnvmgrError as error:
        return _state(is_there=True, reason=error.message)
    return _state(is_there=True, reason="reachable", scopes=scopes)


def hook(client: Any, what: str, fields: Sequence[str]) -> dict[str, Any]:
    """Ask for one thing."""
    if what not in HOOKS:
        return _state(reason="unknown_hook")
    flag, name = HOOKS[what]
    entry = _operation(name)
    if entry is None:
        return _state(is_there=_answers(client), reason="capability_unavailable")
    asked = {p["name"]: os.getcwd() for p in entry["params"] if p["supplied"] == "cwd"}
    asked |= dict(_field(word) for word in fields)
    try:
        answer = client.call(entry["method"], entry["path"], asked)
    except EnvmgrError as error:
        return _failure(error)
    return {**_state(is_there=True, reason="ok", scopes=[_SCOPES[flag]]), "response": answer}


def _operation(name: str) -> Mapping[str, Any] | None:
    path = Path(__file__).with_name("manifest.json")
    entries = json.loads(path.read_text(encoding="utf-8"))
    return next((entry for entry in entries if entry["name"] == name), None)


def _answers(client: Any) -> bool:
    try:
        client.call("GET", "/api/v1/live", {})
    except EnvmgrError:
        return False
    return True


def _field(word: str) -> tuple[str, Any]:
    """`FIELD=VALUE`; a value that is no JSON is a text."""
    name, _, value = word.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _failure(error: EnvmgrError) -> dict[str, Any]:
    if isinstance(error, NoSuchRoute):
        return _state(is_there=True, reason="capability_unavailable")
    if isinstance(error, Denied):
        return _state(is_there=True, reason="unauthorized")
    if isinstance(error, Unavailable):
        return _state(reason="coordinator_unavailable")
    return {**_state(is_there=True, reason=error.code), "status": "error", "error": error.problem()}


def _state(*, is_there: bool = False, reason: str, scopes: Sequence[str] = ()) -> dict[str, Any]:
    flags = {flag: bool(scope) and scope in scopes for flag, scope in _SCOPES.items()}
    return {
        "status": "ok" if scopes else "skipped",
        "COORDINATOR_AVAILABLE": is_there,
        "COORDINATION_TRANSPORT": _transport() if is_there else "none",
        "reason": reason,
        **flags,
    }


def _transport() -> str:
    """An agent's assistant has our tools; whoever else runs this talks HTTP, be it over the socket."""
    has_url = any(os.environ.get(name, "").strip() for name in _URLS)
    return "mcp" if os.environ.get(_KEYS[0]) and not has_url else "http"


def _within(seconds: float, work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What `work` gives, or None when it is not done in time; it is then left behind."""
    found: list[dict[str, Any]] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 - told as the reason
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    return found[0] if found else None


def _deadline_s() -> float:
    try:
        return min(60.0, max(0.1, float(os.environ.get(_DEADLINE, _DEADLINE_S))))
    except ValueError:
        return _DEADLINE_S


def _shell(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told(what: str, found: Mapping[str, Any]) -> str:
    """One line for the log of a skill."""
    if "error" in found:
        return f"{what}: error: {found['error']['message']}"
    if "response" not in found:
        return f"{what}: skipped ({found['reason']})"
    return f"{what}: {json.dumps(found['response'], ensure_ascii=False)}"
